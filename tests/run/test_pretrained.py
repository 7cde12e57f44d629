"""Heads that are new on a foreign body look as its family has them, begin with what its files hold, and can be exported again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.checkpoints.hub.read import read_folder
from lmkit.checkpoints.hub.write import Outgoing, write_folder
from lmkit.cli import main
from lmkit.run.body import body_of, with_body
from lmkit.run.model import shapes_of
from lmkit.spec_file.load import load
from lmkit.spec_file.resolve import resolve
from lmkit.spec_file.spec import RunSpec
from lmkit.text.build import train_tokenizer
from lmkit.text.export import huggingface_files
from lmkit.text.spec import WordPiece

TOKENIZER = train_tokenizer(WordPiece(vocab_size=60), ["the quick brown fox jumps over the lazy dog " * 9])
POST = {"kind": "encoder", "num_layers": 1, "hidden_size": 16, "num_heads": 2, "norm": {"kind": "layer_norm", "placement": "post"}}
PRE = {
    **POST,
    "norm": {"kind": "layer_norm", "bias": False, "first": False},
    "embedding_norm": True,
    "feed_forward": {"kind": "gated", "activation": "gelu"},
    "position": {"kind": "rotary", "base": 160000.0},
    "bias": False,
}
BODIES: dict[str, dict[str, Any]] = {
    "bert": {**POST, "token_types": 2},
    "distilbert": {**POST, "norm": {"kind": "layer_norm", "placement": "post", "epsilon": 1e-12}},
    "modernbert": {**PRE, "output": {"transform_bias": False}},
    "llama": {
        "kind": "decoder",
        "num_layers": 1,
        "hidden_size": 16,
        "num_heads": 2,
        "norm": {"kind": "rms_norm"},
        "feed_forward": {"kind": "gated", "activation": "silu"},
        "position": {"kind": "rotary"},
        "tie_embeddings": False,
    },
}


@pytest.fixture
def folder(tmp_path: Path, request: Any) -> Path:
    """A folder of that family with random weights that fills masks, tells neighbours or continues texts."""
    name = request.param
    tasks: dict[str, Any] = {"lm": {"kind": "causal_lm"}} if name == "llama" else {"mlm": {"kind": "masked_lm"}}
    words = {
        "name": "tiny",
        "tokenizer": {"from": "nowhere"},
        "data": {"train": {"imported": "nowhere"}, "max_length": 24},
        "model": BODIES[name],
        "tasks": tasks | ({"nsp": {"kind": "next_sentence"}} if name == "bert" else {}),
        "training": {"steps": 1, "batch_size": 1, "optimizer": {"kind": "adamw", "learning_rate": 1e-5}},
    }
    spec = resolve(RunSpec.model_validate(words))[0]
    shapes = shapes_of(spec, vocab_size=TOKENIZER.vocab_size, labels={})
    tensors = {key: np.random.default_rng(i).normal(0, 1, shape).astype(np.float32) for i, (key, shape) in enumerate(shapes.items())}
    files = huggingface_files(TOKENIZER, max_length=24)
    write_folder(tmp_path / name, Outgoing(body_of(spec), spec.tasks, {}, 60, 24, TOKENIZER.roles, beside=files), tensors)
    return tmp_path / name


def spec_for(folder: Path, task: dict[str, Any]) -> Path:
    rows = "".join(f'{{"text": "the fox {i}", "label": "{"ab"[i % 2]}"}}\n' for i in range(32))
    (folder.parent / "rows.jsonl").write_text(rows)
    file = folder.parent / "spec.yaml"
    data = {"train": {"jsonl": str(folder.parent / "rows.jsonl"), "columns": {"text": "text", "label": "label"}}, "max_length": 16}
    training = {"steps": 1, "batch_size": 4, "optimizer": {"kind": "adamw", "learning_rate": 1e-9}}
    words = {"name": "tuned", "model": {"from": str(folder)}, "data": data, "tasks": {"stars": {"kind": "classification", **task}}}
    file.write_text(json.dumps(words | {"training": training}))
    return file


@pytest.mark.parametrize(
    ("folder", "look"),
    [
        ("bert", ("first", "tanh", True, False)),
        ("distilbert", ("first", "relu", True, False)),
        ("modernbert", ("first", "gelu", True, True)),
        ("llama", ("last", "none", False, False)),
    ],
    indirect=["folder"],
)
def test_a_new_head_looks_as_its_family_has_it(folder: Path, look: Any) -> None:
    task: Any = with_body(load(spec_for(folder, {})).spec).tasks["stars"]
    assert (task.pooling, task.pooler, task.classifier_bias, task.pooler_norm) == look
    task = with_body(load(spec_for(folder, {"pooling": "mean"})).spec).tasks["stars"]
    assert (task.pooling, task.pooler, task.classifier_bias, task.pooler_norm) == ("mean", "none", True, False)
    task = with_body(load(spec_for(folder, {"pooler": "silu"})).spec).tasks["stars"]
    assert (task.pooling, task.pooler) == (look[0], "silu")


@pytest.mark.parametrize("folder", ["bert", "modernbert"], indirect=True)
def test_its_pooler_is_the_one_in_the_files_and_the_whole_can_be_exported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(folder.parent)
    for source, run in ((folder, "direct"), (folder.parent / "imported", "again")):
        if run == "again":
            assert main(["import", str(folder), str(source)]) == 0
        assert main(["train", str(spec_for(source, {})), "--run-dir", run]) == 0
        assert main(["export", run, f"{run}-out", "--verify"]) == 0
        before, after = (read_folder(path).folder.tensors for path in (folder, Path(f"{run}-out")))
        key = "head.dense.weight" if folder.name == "modernbert" else "bert.pooler.dense.weight"
        if run == "direct" or folder.name == "bert":
            assert np.allclose(before[key].floats(), after[key].floats(), atol=1e-6), run
    assert "heads new, but not in part: heads.stars.pooler" in capsys.readouterr().err
