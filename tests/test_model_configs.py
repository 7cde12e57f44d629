"""Every shipped spec is executed: checked, planned, built at full size with the planned parameters, and trained for a few steps."""

import json
from pathlib import Path

import numpy as np
import pytest

from lmkit.cli import main
from lmkit.models.spec import FromRun
from lmkit.spec_file.load import load
from lmkit.spec_file.spec import RunSpec

ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "model_configs").rglob("*.yaml"))
WHOLE = [path for path in SHIPPED if not isinstance(load(path).spec.model, FromRun)]
PUBLISHED = {"bert-base": 109_482_240, "gpt2-small": 124_439_808}  # BERT with its pooler and without the masked-LM head
SMALL = [
    "data.train={builtin: python_reference}",
    "data.validation={holdout: 2%}",
    "data.max_length=32",
    "model.num_layers=2",
    "model.hidden_size=32",
    "model.num_heads=4",
    "model.feed_forward.intermediate_size=64",
    "training.steps=4",
    "training.tokens=null",
    "training.epochs=null",
    "training.batch_size=4",
    "training.evaluate_every=2 steps",
    "training.optimizer.learning_rate=1e-3",
    "training.gradient_accumulation_steps=1",
    "runtime.steps_per_call=1",
    "logging.every=1",
]


def name_of(path: Path) -> str:
    return path.stem


def plan_of(path: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> dict:
    assert main(["plan", "--json", str(path), *overrides]) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_a_shipped_spec_is_right_and_says_what_it_is(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--strict", str(path)]) == 0
    assert "ok" in capsys.readouterr().out
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert any("Hardware" in line for line in head) and any("Score" in line for line in head), "the header says hardware, time and score"


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_the_plan_names_the_parameters_that_are_built(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = load(path).spec
    overrides = [] if hasattr(spec.tokenizer, "vocab_size") else ["tokenizer={kind: bpe, vocab_size: 300}"]
    parameters = plan_of(path, capsys, *overrides)["parameters"]
    assert parameters["total"] == built_parameters(load(path, overrides).spec)
    if path.stem in PUBLISHED:
        pooler = sum(head.get("pooler", 0) for head in parameters["heads"].values())
        assert parameters["backbone_total"] + pooler == PUBLISHED[path.stem]


def built_parameters(spec: RunSpec) -> int:
    from lmkit.models.build import build_backbone
    from lmkit.tasks.build import build_head

    assert not isinstance(spec.model, FromRun)
    vocab = getattr(spec.tokenizer, "vocab_size", 0)
    backbone = build_backbone(spec.model, vocab_size=vocab, max_length=spec.data.max_length)
    parts = [backbone, *(build_head(task, n, backbone=backbone, model_spec=spec.model, num_labels=2) for n, task in spec.tasks.items())]
    return sum(int(np.prod(variable.shape)) for part in parts for variable in part.weights)


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_a_shipped_spec_trains_when_made_small(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = load(path).spec
    overrides = list(SMALL)
    if hasattr(spec.tokenizer, "vocab_size"):
        overrides.append("tokenizer.vocab_size=400")
    if any("target" in task.roles for task in spec.tasks.values()):
        overrides[0] = f"data.train={{text: {written(tmp_path / 'read.txt', 'abc')}, target: {written(tmp_path / 'write.txt', 'xyz')}}}"
    run = tmp_path / "run"
    assert main(["train", str(path), "--run-dir", str(run), *overrides]) == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [2, 4]
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert (run / "report.md").exists()


def written(path: Path, letters: str) -> Path:
    """A file of 300 lines of words made of these letters."""
    random = np.random.default_rng(0)
    lines = (" ".join("".join(random.choice(list(letters), 3)) for _ in range(8)) for _ in range(300))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
