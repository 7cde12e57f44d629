"""The tool that holds folders against what transformers gives: the loss it takes, and what it says of a folder without a reference."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from lmkit.checkpoints.header import header_bytes, read_header

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "checkpoints" / "hub" / "folders" / "roberta_seqcls"
TOOL = runpy.run_path(str(ROOT / "tools" / "check_checkpoint.py"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder with the first of its labels alone."""
    path = Path(shutil.copytree(FOLDER, tmp_path / "folder"))
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}))
    stored = {
        key: (one, one.read()[:1] if key.startswith("classifier.out_proj") else one.read())
        for key, one in read_header(path / "model.safetensors").items()
    }
    header = header_bytes([(key, one.dtype, value.shape) for key, (one, value) in stored.items()])
    (path / "model.safetensors").write_bytes(header + b"".join(value.tobytes() for _, value in stored.values()))
    return path


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)], ids=["flat", "column"])
def test_the_loss_of_one_number_is_the_mean_squared_error(folder: Path, shape: tuple[int, ...]) -> None:
    with np.load(folder / "reference.npz") as file:
        reference = dict(file)
    value_B = reference["padded_logits"][:, 0]
    labels = np.linspace(-1, 2, len(value_B), dtype=np.float32)
    np.savez(folder / "reference.npz", **reference | {"loss_labels": labels.reshape(shape)})
    loss, norm = TOOL["loss_and_gradient"](TOOL["Checked"](folder))
    np.testing.assert_allclose(loss, np.mean((value_B - labels) ** 2), rtol=1e-5)
    assert norm > 0


def test_a_folder_without_a_reference_is_told_in_one_line(folder: Path) -> None:
    (folder / "reference.npz").unlink()
    assert TOOL["check"](folder).failures == [f"folder: family: {folder}: has no reference.npz, which says what its model gives"]
