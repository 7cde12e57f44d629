"""`lmkit verify-parallel` says of a user's spec that it computes the same however it is spread, or where it does not."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from lmkit.cli import main
from lmkit.run.apart import compared
from lmkit.run.rehearse import FIGURES, TENSORS
from lmkit.run.verify_parallel import Wish, sides_of
from lmkit.spec_file.load import load

SPEC = str(Path(__file__).parents[2] / "model_configs" / "debug-encoder.yaml")


def test_a_spec_is_the_same_on_two_devices_and_in_two_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert main(["verify-parallel", SPEC, "--steps", "3", "--json", "model.num_layers=1", "data.buckets=1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] and found["steps"] == 3 and [side["name"] for side in found["sides"]] == ["2 replicas", "2 micro-batches"]
    assert all(side["loss"] < 1e-6 and side["gradient_norm"] < 1e-5 and side["weights"] < 1e-5 for side in found["sides"])
    assert os.listdir(tmp_path) == ["runs"] and os.listdir(tmp_path / "runs") == [".cache"]


def test_what_is_compared_fits_the_batch_and_its_groups() -> None:
    def names(*overrides: str, **wish: int) -> list[str]:
        return [side.name for side in sides_of(load(SPEC, ["training.batch_size=12", *overrides]).spec, Wish(**wish))][1:]

    assert names(replicas=6) == ["6 replicas", "2 micro-batches", "3 micro-batches", "4 micro-batches", "6 micro-batches"]
    assert names("training.gradient_accumulation_steps=3") == ["2 replicas", "6 micro-batches"]
    assert names("runtime.replicas=3") == ["3 replicas", "2 micro-batches", "3 micro-batches"]
    assert names(workers=3) == ["2 replicas", "2 micro-batches", "3 processes"]


def record(folder: Path, steps: list[dict[str, float]], **tensors: float) -> Path:
    """What a side leaves behind, with tensors of one number."""
    folder.mkdir()
    (folder / FIGURES).write_text(json.dumps(steps))
    np.savez(folder / TENSORS, **{name: np.float32(value) for name, value in tensors.items()})
    return folder


def test_the_first_difference_is_told_by_step_and_task(tmp_path: Path) -> None:
    steps = [
        {"loss": 3.0, "mlm/loss": 2.0, "mlm/accuracy": 0.1, "gradient_norm": 1.0},
        {"loss": 4.0, "nsp/loss": 0.5, "gradient_norm": 2.0},
    ]
    one = record(tmp_path / "one", steps, **{"a": 1.0, "b": 2.0, "a/moment": 1e-6})
    rounded = record(
        tmp_path / "rounded", [step | {"loss": step["loss"] * (1 + 1e-7)} for step in steps], **{"a": 1.0, "b": 2.0, "a/moment": 1e-6}
    )
    near = compared("2 replicas", one, rounded)
    assert near.differs == "" and near.loss == pytest.approx(1e-7, rel=0.1)
    other = record(tmp_path / "other", [steps[0], steps[1] | {"nsp/loss": 0.6}], **{"a": 1.0, "b": 2.0, "a/moment": 1e-6})
    assert compared("2 replicas", one, other).differs == "step 2: nsp/loss is 0.6, with 1 replica 0.5"
    other = record(tmp_path / "last", steps, **{"a": 1.0, "b": 2.0, "a/moment": 2e-6})
    far = compared("2 replicas", one, other)
    assert far.differs == "after the last step: a/moment" and far.weights == pytest.approx(1.0)


def test_where_weights_move_by_signs_their_momentum_is_compared(tmp_path: Path) -> None:
    one = record(tmp_path / "one", [{"loss": 3.0, "gradient_norm": 1.0}], **{"a": 1.0, "a/m": 0.5, "a/twin": 1.0})
    turned = record(tmp_path / "turned", [{"loss": 3.0, "gradient_norm": 1.0}], **{"a": 1.1, "a/m": 0.5, "a/twin": 1.1})
    assert compared("2 replicas", one, turned).differs and not compared("2 replicas", one, turned, signs=True).differs
    other = record(tmp_path / "other", [{"loss": 3.0, "gradient_norm": 1.0}], **{"a": 1.0, "a/m": 0.6, "a/twin": 1.0})
    assert compared("2 replicas", one, other, signs=True).differs == "after the last step: a/m"


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["training.batch_sise=4"], 2, "training.batch_sise: unknown key"),
        (["--replicas", "1"], 2, 'argument --replicas: expected a whole number from 2 to 64, got "1"'),
        (["--replicas", "65"], 2, 'argument --replicas: expected a whole number from 2 to 64, got "65"'),
        (["--replicas", "none"], 2, 'argument --replicas: expected a whole number from 2 to 64, got "none"'),
        (
            ["--replicas", "3"],
            2,
            "command line: --replicas: training.batch_size = 4 is not divisible by 3 replicas; write --replicas 2 or 4",
        ),
        (
            ["training.batch_size=1"],
            2,
            "--replicas: training.batch_size = 1 is not divisible by 2 replicas; write training.batch_size=2 behind the spec",
        ),
        (["runtime.replicas=3"], 2, "training.batch_size: 4 is not divisible by runtime.replicas = 3; nearest: 3, 6"),
        (
            ["runtime.replicas=100", "training.batch_size=100"],
            2,
            "runtime.replicas: 100 are too many to compare; write --replicas 64 or less",
        ),
        (["--also", "model.num_heads=5"], 2, "model.hidden_size: 32 is not divisible by num_heads = 5"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    tmp_path: Path, words: list[str], code: int, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["verify-parallel", SPEC, *words]) == code
    said = capsys.readouterr()
    assert what in said.err and said.out == "" and "Traceback" not in said.err


def test_what_a_side_cannot_do_is_said_as_train_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(Path(SPEC).read_text().replace("{builtin: python_reference}", "{text: absent/*.txt}"))
    assert main(["verify-parallel", "my.yaml"]) == 3
    said = capsys.readouterr()
    assert "absent/*.txt" in said.err.splitlines()[-1] and said.out == ""
