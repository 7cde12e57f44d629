"""`model.from: other.yaml`: the words of another spec's model and tokenizer, without weights."""

import json
from pathlib import Path

import pytest

from lmkit.cli import main
from lmkit.errors import SpecError
from lmkit.models.spec import Encoder, EncoderDecoder, stacks
from lmkit.positions.spec import Learned
from lmkit.spec_file.load import Loaded, load
from lmkit.text.spec import WordPiece

BODY = """\
tokenizer: {kind: wordpiece, vocab_size: 300}
model:
  kind: encoder
  num_layers: 2
  hidden_size: 16
  num_heads: 2
  attention: {dropout: 0.3}
"""
USE = """\
name: use
data: {train: {text: a.txt}, max_length: 48}
tasks: {mlm: masked_lm}
training: {steps: 2, batch_size: 4, precision: float32, optimizer: {kind: adamw, learning_rate: 1e-3}}
"""


def written(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


def using(folder: Path, model: str, *overrides: str, other: str = BODY) -> Loaded:
    return load(written(folder, other=other, spec=f"{USE}model: {model}\n"), overrides)


def complaints(spec: Path) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(spec)
    return [str(problem).replace(f"{spec.parent}/", "") for problem in caught.value.problems]


def test_the_model_and_the_tokenizer_are_those_of_the_other_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    loaded = using(tmp_path, "{from: other.yaml}")
    assert isinstance(loaded.spec.model, Encoder) and isinstance(loaded.spec.tokenizer, WordPiece)
    assert (loaded.spec.model.hidden_size, loaded.spec.tokenizer.vocab_size) == (16, 300)
    assert loaded.origins["model", "hidden_size"] == f"{tmp_path}/other.yaml:5:16"
    assert loaded.spec.model == load(written(tmp_path, spec=USE + BODY)).spec.model


def test_what_it_leaves_open_follows_from_the_spec_that_uses_it(tmp_path: Path) -> None:
    model = using(tmp_path, "{from: other.yaml}").spec.model
    assert isinstance(model, Encoder) and isinstance(model.position[0], Learned)
    assert model.position[0].max_length == 48


def test_a_tokenizer_of_its_own_is_kept(tmp_path: Path) -> None:
    spec = using(tmp_path, "{from: other.yaml}\ntokenizer: {kind: bpe, vocab_size: 400}").spec
    assert spec.tokenizer is not None and spec.tokenizer.kind == "bpe"  # type: ignore[union-attr]


def test_any_key_beside_it_or_on_the_command_line_is_laid_over(tmp_path: Path) -> None:
    model = using(tmp_path, "{from: other.yaml, norm: rms_norm}", "model.num_layers=3", "model.attention.window=[4]").spec.model
    assert isinstance(model, Encoder)
    assert (model.num_layers, model.hidden_size, model.norm.kind, model.attention.window) == (3, 16, "rms_norm", (4,))
    assert model.attention.dropout == 0.3


def test_dropout_beside_it_holds_everywhere(tmp_path: Path) -> None:
    model = using(tmp_path, "{from: other.yaml, dropout: 0.2}").spec.model
    assert isinstance(model, Encoder) and (model.dropout, model.attention.dropout) == (0.2, 0.2)
    sides = BODY.replace("kind: encoder", "kind: encoder_decoder\n  encoder: {dropout: 0.4, attention: {dropout: 0.5}}")
    both = using(tmp_path, "{from: other.yaml, dropout: 0.2}", "tasks.mlm=span_corruption", other=sides).spec.model
    assert isinstance(both, EncoderDecoder)
    assert [(stack.dropout, stack.attention.dropout) for stack in stacks(both)] == [(0.2, 0.2)] * 2


def test_a_declared_model_may_come_from_a_third_spec_and_from_what_it_extends(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    written(tmp_path / "deep", body=BODY, middle="model: {from: body.yaml, num_layers: 4}\n", over="extends: middle.yaml\nseed: 2\n")
    spec = load(written(tmp_path, spec=USE + "model: {from: deep/over.yaml, num_heads: 4}\n")).spec
    assert isinstance(spec.model, Encoder) and isinstance(spec.tokenizer, WordPiece)
    assert (spec.model.num_layers, spec.model.num_heads, spec.seed) == (4, 4, 0)


@pytest.mark.parametrize(
    ("model", "other", "lines"),
    [
        (
            "{from: none.yaml}",
            BODY,
            ["spec.yaml:5:15: model.from: none.yaml cannot be read: no such file or directory; YAML files"],
        ),
        ("{from: other.yaml}", "seed: 1\n", ["spec.yaml:5:15: model.from: other.yaml is a YAML file without a model; name a spec file"]),
        ("{from: other.yaml}", "- 1\n", ["other.yaml:1:1: a spec is a mapping"]),
        (
            "{from: other.yaml}",
            "model: {from: runs/a}\n",
            ["spec.yaml:5:15: model.from: other.yaml takes its own model from runs/a;"],
        ),
        ("{from: spec.yaml}", BODY, ["spec.yaml:5:15: model.from: spec.yaml: the chain of model.from comes back to itself"]),
        (
            "{from: other.yaml}",
            "model: {from: spec.yaml}\n",
            ["other.yaml:1:15: model.from: spec.yaml: the chain of model.from comes"],
        ),
        (
            "{from: other.yaml}",
            BODY.replace("num_heads", "num_head"),
            ["other.yaml:6:3: model.num_head: unknown key; did you mean"],
        ),
        ("{from: other.yaml, hidden_size: 15}", BODY, ["spec.yaml:5:40: model.hidden_size: 15 is not divisible by num_heads = 2"]),
        ("{from: other.yaml, freeze: [embeddings]}", BODY, ["spec.yaml:5:27: model.freeze: goes with a run or folder, but other.yaml"]),
        ("{from: other.yaml, kind: encoder}", BODY, ["spec.yaml:5:27: model.kind: "]),
        ("{from: other.yaml}", "model: 5\n", ["other.yaml:1:8: model: expected a mapping"]),
    ],
)
def test_what_is_wrong_is_one_line_at_its_place(tmp_path: Path, model: str, other: str, lines: list[str]) -> None:
    found = complaints(written(tmp_path, other=other, spec=f"{USE}model: {model}\n"))
    assert len(found) == len(lines), found
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True)), found


def test_a_run_goes_on_only_while_the_other_spec_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(f"the cat sat on mat {i}" for i in range(60)))
    spec = written(tmp_path, other=BODY, spec=f"{USE}model: {{from: other.yaml}}\n")
    asked = ["train", str(spec), "--run-dir", str(tmp_path / "run"), f"data.train.text={tmp_path}/a.txt"]
    assert main(asked) == 0
    written(tmp_path, other=BODY.replace("hidden_size: 16", "hidden_size: 32"))
    capsys.readouterr()
    assert main(asked) == 2
    assert "model.hidden_size: 16 -> 32" in capsys.readouterr().err
    written(tmp_path, other=BODY)
    assert main([*asked, "training.steps=4"]) == 0
    (tmp_path / "other.yaml").unlink()
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), "--data", str(tmp_path / "a.txt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["loss"] > 0
