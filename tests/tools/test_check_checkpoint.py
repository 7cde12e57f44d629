"""The tool that holds folders against what transformers gives: the loss it takes, and what it says of a folder without a reference."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from lmkit.checkpoints.header import header_bytes, read_header
from lmkit.text.build import train_tokenizer
from lmkit.text.export import huggingface_files
from lmkit.text.spec import Bpe

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


def test_a_model_of_several_labels_gives_the_loss_of_transformers(tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "max_position_embeddings": 60}
    tokenizer = train_tokenizer(Bpe(vocab_size=300), ["the quick brown fox jumps over the lazy dog " * 20])
    said = {"num_labels": 3, "problem_type": "multi_label_classification", "pad_token_id": tokenizer.pad}
    theirs = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=300, **sizes, **said)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    theirs.save_pretrained(tmp_path)
    for file, data in huggingface_files(tokenizer, token_types=True).items():
        (tmp_path / file).write_bytes(data)
    draw = np.random.default_rng(0)
    tokens, mask = draw.integers(5, 300, (3, 9)), np.ones((3, 9), np.int64)
    tokens[1, 5:], mask[1, 5:] = tokenizer.pad, 0
    labels = draw.integers(0, 2, (3, 3)).astype(np.float32)
    made = theirs(input_ids=torch.tensor(tokens), attention_mask=torch.tensor(mask), labels=torch.tensor(labels))
    made.loss.backward()
    norm = np.sqrt(sum(float(parameter.grad.double().square().sum()) for parameter in theirs.parameters()))
    arrays = {"input_ids": tokens, "attention_mask": mask, "logits": made.logits.detach().numpy()}
    loss = {"loss": made.loss.item(), "loss_grad_norm": norm, "loss_labels": labels}
    np.savez(tmp_path / "reference.npz", **{f"padded_{name}": value for name, value in arrays.items()}, **loss)
    row = TOOL["check"](tmp_path)
    assert row.failures == []
    assert {"error", "loss", "gradient"} <= row.cells.keys()
