"""What holds for every kind of task: a run that stops and goes on is the run that never stopped, two devices learn what one learns, and
answers depend on their own row alone."""

import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from lmkit.cli import main

spec = importlib.util.spec_from_file_location("every_kind", Path(__file__).with_name("every_kind.py"))
assert spec is not None and spec.loader is not None
every_kind = importlib.util.module_from_spec(spec)
spec.loader.exec_module(every_kind)

CLOCK = {"tokens_per_second", "peak_share", "seconds"}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home")
    every_kind.write_data(path)
    return path


@pytest.fixture(scope="module", params=every_kind.BODIES)
def run(request: Any, home: Path) -> Path:
    """A run of 16 steps that learned all that its kind of body can."""
    return trained(home, request.param, home / request.param)


def trained(home: Path, body: str, run: Path, *more: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(["train", f"{body}.yaml", "--run-dir", str(run), *more]) == 0
    return run


def figures(run: Path) -> list[Row]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in lines]


def tensors(run: Path) -> dict[str, np.ndarray]:
    newest = max((run / "checkpoints").glob("step-*"))
    return {name: value for file in newest.glob("*.safetensors") for name, value in load_file(file).items()}


def test_every_task_was_learned(run: Path) -> None:
    seen = {name for line in figures(run) if line["kind"] == "train" for name in line}
    assert seen >= {f"{name}/loss" for name in every_kind.BODIES[run.name]}


def test_a_run_that_ends_and_goes_on_has_the_bits_of_one_that_did_not(run: Path, home: Path) -> None:
    parted = home / f"{run.name}-parted"
    for steps in (8, 16):
        trained(home, run.name, parted, f"training.steps={steps}")
    one, other = tensors(run), tensors(parted)
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    assert figures(parted) == figures(run)


def test_two_devices_learn_what_one_learns(run: Path, home: Path) -> None:
    script = Path(str(every_kind.__file__))  # a process of its own, since a process can make one mirrored set; one of them as on a TPU
    done = subprocess.run([sys.executable, script, run.name, "two/" + run.name], cwd=home, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for one, two in zip(figures(run), figures(home / "two" / run.name), strict=True):
        assert one.keys() == two.keys()
        losses = {name: value for name, value in one.items() if name.endswith("loss")}
        near = 1e-6 if one["kind"] == "train" else 1e-5
        assert {name: two[name] for name in losses} == pytest.approx(losses, rel=near), one["step"]


TEXTS = ["the fox jumps", "who sleeps?", "the red dog " * 9, "a", "grey", "the owl that runs and the cat", "who?", "red red"]
GOOD: list[Row] = [
    {"id": n, "text": text, "other": TEXTS[n % 5] * (1 + n % 4), "choices": list(TEXTS[: 2 + n % 2])} for n, text in enumerate(TEXTS)
]
BAD: list[Row] = [{"id": 90, "text": 7, "other": "x", "choices": ["a", "b"]}, {"id": 91, "other": "x", "choices": ["a", "b"]}]
ALL = "text=text,text_pair=other,choices=choices"
OF_ONE_TEXT = {"stars", "score"}  # they learned from one, and do not answer two
Predict = Callable[..., list[Row]]


@pytest.fixture
def predict(run: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Predict:
    """What `lmkit predict` writes of rows; `code` is the exit code that it must have."""
    monkeypatch.chdir(home)

    def call(rows: list[Row], *more: str, columns: str = ALL, code: int = 0) -> list[Row]:
        Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        capsys.readouterr()
        assert main(["predict", str(run), "--input", "rows.jsonl", "--columns", columns, *more]) == code
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return call


def near(one: Any, other: Any) -> bool:
    """Equal but for rounding, however deep."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(near, one, other))
    return one == pytest.approx(other, abs=1e-5) if isinstance(one, float) else one == other


def test_answers_depend_on_their_own_row_alone_and_stand_in_its_place(run: Path, predict: Predict) -> None:
    expected = predict(GOOD, "--batch-size", "1")
    answering = set(every_kind.BODIES[run.name]) - {"prefer", "rest", "hidden"} - OF_ONE_TEXT
    assert [row["id"] for row in expected] == list(range(len(GOOD))) and all(answering <= row.keys() for row in expected)
    mixed = random.Random(3).sample([*GOOD, *BAD], len(GOOD) + len(BAD))
    good = [row["id"] for row in mixed if row["id"] < 90]
    for size, policy in (("3", "skip"), ("64", "null")):
        found = predict(mixed, "--batch-size", size, "--on-error", policy)
        assert [row["id"] for row in found if "error" not in row] == good
        assert all(near(row, expected[row["id"]]) for row in found if "error" not in row)
        places = [f"rows.jsonl:{number}" for number, row in enumerate(mixed, 1) if row["id"] >= 90]
        errors = [(number, row["error"]) for number, row in enumerate(found, 1) if "error" in row]
        assert [error.split(": ")[0] for _, error in errors] == [f"rows.jsonl:{number}" for number, _ in errors]
        assert len(errors) == (len(places) if policy == "null" else 0)
    assert predict(mixed, "--output", "out.jsonl", code=3) == [] and not Path("out.jsonl").exists()


@pytest.mark.parametrize("run", ["encoder"], indirect=True)
def test_what_was_learned_from_one_text_is_answered_of_one(run: Path, predict: Predict) -> None:
    asked = [part for name in sorted(OF_ONE_TEXT) for part in ("--task", name)]
    expected = predict(GOOD, "--batch-size", "1", *asked, columns="text=text")
    assert all(row.keys() >= OF_ONE_TEXT for row in expected)
    assert all(map(near, predict(GOOD[::-1], *asked, columns="text=text"), expected[::-1]))


@pytest.mark.parametrize("run", ["encoder"], indirect=True)
def test_choices_may_stand_on_the_command_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["predict", str(run), "--text", "the fox jumps", "--task", "right"]
    capsys.readouterr()
    assert main([*asked, "--choice", "a fox", "--choice", "a dog that sleeps", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["right"]
    assert answer["choice"] == ("a fox", "a dog that sleeps")[answer["place"]] and len(answer["probabilities"]) == 2
    assert main(asked) == 2
    assert "has no choices, and two or more are needed; add --choice twice" in capsys.readouterr().err


@pytest.mark.parametrize("run", ["encoder_decoder"], indirect=True)
def test_two_aligned_files_are_evaluated_by_their_names(
    run: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    for name, text in (("read", "the fox jumps\nthe dog runs\n"), ("written", "a fox that jumps\na dog that runs\n")):
        Path(name).write_text(text)
    asked = ["evaluate", str(run), "--task", "write", "--json", "--predictions", "answers.jsonl", "--data"]
    assert main([*asked, "text=read,target=written"]) == 0
    answers = [json.loads(line)["write"] for line in Path("answers.jsonl").read_text().splitlines()]
    assert [answer["gold"] for answer in answers] == [["a fox that jumps"], ["a dog that runs"]]
    Path("written").write_text("a fox that jumps\n")
    assert main([*asked, "text=read,target=written"]) == 3
    assert '"where": "read", "key": "", "what": "has 2 lines, and written, which it goes with, has 1"' in capsys.readouterr().out
