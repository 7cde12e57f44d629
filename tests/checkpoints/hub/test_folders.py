"""Real layouts of Hugging Face folders: every point that a family must show, on checkpoints that lie beside this file."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))

from check_checkpoint import check

FOLDERS = sorted(path for path in (Path(__file__).parent / "folders").iterdir())


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_a_folder_gives_its_reference_and_is_written_again_byte_for_byte(path: Path) -> None:
    assert check(path).failures == []


def with_arrays(folder: Path, *kept: str) -> Path:
    """A folder whose reference has these arrays alone."""
    shutil.copytree(FOLDERS[0].parent / "gpt2_hub_layout", folder)
    with np.load(folder / "reference.npz") as file:
        arrays = {name: file[name] for name in file.files if name in kept}
    np.savez(folder / "reference.npz", **arrays)
    return folder


def test_an_array_that_a_reference_lacks_is_named(tmp_path: Path) -> None:
    failures = check(with_arrays(tmp_path / "folder", "loss")).failures
    assert any("has no array input_ids or padded_input_ids or left_input_ids" in failure for failure in failures)


def test_an_array_that_transformers_is_held_to_is_named_too(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    failures = check(with_arrays(tmp_path / "folder", "input_ids", "attention_mask", "logits")).failures
    assert any("has no array padded_input_ids" in failure for failure in failures)
