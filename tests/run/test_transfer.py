"""From running text to a task: pretraining, more of it on other text, and fine-tuning with parts that begin anew or learn late."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from lmkit.cli import main
from lmkit.layers.weights import Normal
from lmkit.models.initialize import normal

SMALL = {"kind": "encoder", "num_layers": 2, "hidden_size": 16, "num_heads": 2, "dropout": 0.1}
WORDS = ["the cat sat on a mat", "a dog ran in the park", "rain fell on the old town", "she sold sea shells", "we read two long books"]


def train(home: Path, name: str, *overrides: str, **words: Any) -> Path:
    training = {"steps": 4, "batch_size": 8, "precision": "float32", "optimizer": {"kind": "adamw", "learning_rate": 0.01}}
    spec = {"name": name, "training": training, **words}
    (home / f"{name}.yaml").write_text(json.dumps(spec))
    assert main(["train", str(home / f"{name}.yaml"), "--run-dir", str(home / name), *overrides]) == 0
    return home / name


def weights(run: Path) -> dict[str, np.ndarray]:
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    return {name: value for file in sorted(newest.glob("*.safetensors")) for name, value in load_file(file).items() if "/" not in name}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    for name, turn in (("web", 1), ("domain", 3)):
        lines = (f"{WORDS[i % 5]}. {WORDS[turn * i % 5]} {i}." for i in range(120))
        (folder / f"{name}.txt").write_text("\n\n".join(f"{line}\n{line} again." for line in lines))
    records = ({"a": WORDS[i % 5], "b": WORDS[(i + i % 2) % 5], "like": float(i % 2 == 0), "kind": i % 2} for i in range(40))
    (folder / "pairs.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def text(home: Path, name: str) -> dict[str, Any]:
    return {"train": {"text": str(home / f"{name}.txt"), "document": "blank_line", "sentence": "line"}, "max_length": 32}


def pairs(home: Path, **columns: str) -> dict[str, Any]:
    return {
        "train": {"jsonl": str(home / "pairs.jsonl"), "columns": {"text": "a", **columns}},
        "max_length": 32,
        "validation": {"holdout": 0.2},
    }


@pytest.fixture(scope="module")
def pretrained(home: Path) -> Path:
    tasks = {
        "mlm": {"kind": "masked_lm", "weight": 0.5},
        "order": "sentence_order",
        "rtd": {"kind": "replaced_token", "generator": {"hidden_size": "50%", "num_layers": 1}},
    }
    return train(home, "pretrained", tokenizer={"kind": "wordpiece", "vocab_size": 200}, data=text(home, "web"), model=SMALL, tasks=tasks)


@pytest.fixture(scope="module")
def adapted(home: Path, pretrained: Path) -> Path:
    return train(home, "adapted", data=text(home, "domain"), model={"from": str(pretrained)}, tasks={"mlm": "masked_lm"})


def test_pretraining_goes_on_with_the_same_head_on_other_text(pretrained: Path, adapted: Path) -> None:
    before, after = weights(pretrained), weights(adapted)
    assert before.keys() - after.keys() == {name for name in before if name.startswith(("heads.order.", "heads.rtd."))}
    moved = np.abs(after["heads.mlm.transform.kernel"] - before["heads.mlm.transform.kernel"]).max()
    assert 0 < moved < 0.1, "it goes on from where it was"


def test_layers_learn_one_after_another_and_a_resumed_run_knows_which(
    home: Path, adapted: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    words = {
        "data": pairs(home, text_pair="b", label="kind"),
        "model": {"from": str(adapted), "unfreeze_every": "3 steps"},
        "tasks": {"kind": {"kind": "classification", "pooling": "mean"}},
    }
    capsys.readouterr()
    early = weights(train(home, "slow", **words))
    assert main(["check", str(home / "slow.yaml"), "training.steps=7"]) == 0
    later = "  learns later: layers.1 after 3 steps, layers.0 after 6 steps, embeddings never (9 steps are more than there are)"
    assert later in capsys.readouterr().out.splitlines()
    start = weights(adapted)
    for name in start:
        if name.startswith(("embeddings.", "encoder.layers.0.")):
            np.testing.assert_array_equal(early[name], start[name], err_msg=name)
    assert np.any(early["encoder.layers.1.feed_forward.up.kernel"] != start["encoder.layers.1.feed_forward.up.kernel"])
    late, straight = (weights(train(home, name, "training.steps=11", **words)) for name in ("slow", "straight"))
    assert late.keys() == straight.keys()
    assert all(np.array_equal(late[name], straight[name]) for name in late)
    assert np.any(late["embeddings.token.embedding"] != start["embeddings.token.embedding"])


def test_parts_begin_anew_that_are_named_so(home: Path, adapted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"data": pairs(home, label="kind"), "tasks": {"kind": "classification"}}
    frozen = ["embeddings", "encoder"]
    capsys.readouterr()
    run = train(home, "anew", model={"from": str(adapted), "reinitialize": ["layers.1"], "freeze": frozen}, **words)
    said = capsys.readouterr().err
    assert "heads new: kind\n" in said and "heads dropped: mlm\n" in said
    assert main(["check", str(home / "anew.yaml")]) == 0
    first, *lines, _ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"model.from: the weights of {adapted}/") and "an encoder of 2 layers" in first
    assert lines == [
        "  taken over: embeddings, layers.0, norm",
        "  begins anew: layers.1, heads.kind",
        "  left behind: heads.mlm",
        "  frozen: embeddings, encoder",
    ]
    found, before, name = weights(run), weights(adapted), "attention.query.kernel"
    np.testing.assert_array_equal(found[f"encoder.layers.0.{name}"], before[f"encoder.layers.0.{name}"])
    drawn = normal(0, f"encoder.layers.1.{name}", 256).reshape(16, 16) * np.float32(Normal(0.02).stddev)
    np.testing.assert_array_equal(found[f"encoder.layers.1.{name}"], drawn)
    spec = home / "anew.yaml"
    assert main(["train", str(spec), "--run-dir", str(home / "other"), "model.reinitialize=[layer.1]"]) == 2
    assert "model.reinitialize.0: layer.1 is no part of a model; did you mean layers.1?" in capsys.readouterr().err


def test_check_says_which_heads_are_taken_over_and_what_does_not_go_together(
    home: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = home / "heads.yaml"
    training = {"steps": 4, "batch_size": 8, "optimizer": {"kind": "adamw", "learning_rate": 0.01}}
    tasks = {"mlm": "masked_lm", "order": "sentence_order", "rtd": {"kind": "replaced_token", "generator": {"hidden_size": "25%"}}}
    data, model = {**text(home, "web"), "max_length": 64}, {"from": str(pretrained)}
    spec.write_text(json.dumps({"name": "heads", "data": data, "model": model, "tasks": tasks, "training": training}))
    assert main(["check", str(spec)]) == 2
    assert "heads.yaml:1:" in (said := capsys.readouterr().err) and "data.max_length: 64 is longer than the 32 learned positions" in said
    assert main(["check", str(spec), "data.max_length=32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["model_from"]
    assert found["taken"] == ["embeddings", "layers.0-1", "norm", "heads.mlm", "heads.order"] and found["anew"] == ["heads.rtd"]
    assert main(["check", str(spec), "data.max_length=32", f"model.from={home / 'nowhere'}"]) == 0
    assert "model.from: cannot be looked into now, and training will have to: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        ({"loss": "contrastive", "negatives": 4, "symmetric": True}, {"text_pair": "b"}),
        ({"loss": "simcse"}, {}),
        ({"loss": "cosine"}, {"text_pair": "b", "value": "like"}),
    ],
)
def test_vectors_are_trained_and_compared(
    home: Path, adapted: Path, capsys: pytest.CaptureFixture[str], words: dict[str, Any], columns: dict[str, str]
) -> None:
    given = {"data": pairs(home, **columns), "model": {"from": str(adapted)}, "tasks": {"near": {"kind": "sentence_embedding", **words}}}
    name = f"near-{words['loss']}"
    run = train(home, name, **given)
    later, straight = (weights(train(home, each, "training.steps=8", **given)) for each in (name, f"{name}-straight"))
    assert all(np.array_equal(later[each], straight[each]) for each in later)
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    assert "near/loss" in json.loads(capsys.readouterr().out)["figures"]
    assert main(["predict", str(run), "--text", WORDS[0], "--pair", WORDS[0], "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["near"]
    assert answer["similarity"] == pytest.approx(1, abs=1e-5)
    assert answer["vector"] == pytest.approx(answer["vector_pair"])
    (home / "alone.jsonl").write_text(json.dumps({"a": WORDS[0]}))
    assert main(["predict", str(run), "--input", str(home / "alone.jsonl")]) == 0
    assert json.loads(capsys.readouterr().out)["near"]["vector"] == pytest.approx(answer["vector"], abs=1e-6)
