"""A run begins only where its checkpoints have room, and goes on wherever it could have gone on without a stop."""

from collections import namedtuple
from pathlib import Path

import pytest

from lmkit.cli import main
from lmkit.engine.tensorflow import Replicas
from lmkit.errors import MachineError
from lmkit.run.console import Console
from lmkit.run.directory import RunDirectory
from lmkit.run.rehearse import FIGURES, rehearse
from lmkit.run.room import require_room
from lmkit.training.bad_steps import Policy
from lmkit.training.hooks import Snapshot
from lmkit.training.plan import Plan

DECODER = str(Path(__file__).parents[2] / "model_configs" / "debug-decoder.yaml")
SIZE = 10**9
PLAN = Plan(steps=100, evaluate_every=10)


def room(path: Path, checkpoints: list[int], best: list[int]) -> RunDirectory:
    for folder, steps in (("checkpoints", checkpoints), ("best", best)):
        for step in steps:
            (path / folder / f"step-{step:08d}").mkdir(parents=True)
    return RunDirectory(path)


@pytest.mark.parametrize(
    ("checkpoints", "best", "plan", "wanted"),
    [
        ([], [], PLAN, 4),
        ([], [], Plan(steps=100), 3),
        ([], [], Plan(steps=100, evaluate_every=10, non_finite=Policy("non_finite", "rollback", steps=20, at_most=1)), 6),
        ([8, 9], [9], PLAN, 2),
        ([8, 9], [4], PLAN, 1),
        ([5, 6, 7, 8, 9], [4], PLAN, 1),
    ],
)
def test_as_many_checkpoints_need_room_as_there_will_be_at_once_less_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: list[int], best: list[int], plan: Plan, wanted: int
) -> None:
    run, snapshot = room(tmp_path, checkpoints, best), Snapshot(9, {}, {}, {"waited": 0}, {}) if checkpoints else None
    free = [wanted * SIZE]
    monkeypatch.setattr("shutil.disk_usage", lambda path: namedtuple("Usage", "free")(free[0]))
    require_room(run, plan, keep=2, size=SIZE, snapshot=snapshot)
    free[0] -= 1
    with pytest.raises(MachineError, match=rf"{wanted} checkpoints of 1 GB need {wanted} GB.*; free some space, or lower training.keep"):
        require_room(run, plan, keep=2, size=SIZE, snapshot=snapshot)


def test_a_run_without_a_step_left_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: namedtuple("Usage", "free")(0))
    early = Plan(steps=100, evaluate_every=10, patience=3)
    for step, waited, plan in ((100, 0, PLAN), (40, 3, early)):
        require_room(
            room(tmp_path / str(step), [step], []), plan, keep=2, size=SIZE, snapshot=Snapshot(step, {}, {}, {"waited": waited}, {})
        )


def test_only_who_writes_checkpoints_needs_room_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: namedtuple("Usage", "free")(0))
    few = ("training.steps=2", "training.evaluate_every=null", "data.validation=null", "logging.samples=[]", "model.num_layers=1")
    few = (*few, "training.optimizer.learning_rate=1e-3", "model.attention=null")
    assert main(["train", DECODER, "--run-dir", "chief", *few]) == 5
    assert "checkpoints of" in capsys.readouterr().err
    console = Console(out=print, err=print, write=print)
    Path("rehearsal").mkdir()
    rehearsed = {"steps": 1, "replicas": 1, "folder": Path("rehearsal"), "allow_code": False, "console": console}
    assert rehearse(Path(DECODER), overrides=few, **rehearsed) == 0 and Path("rehearsal", FIGURES).exists()
    monkeypatch.setattr(Replicas, "is_chief", False)  # as in all processes of a run but one
    assert main(["train", DECODER, "--run-dir", "worker", *few]) == 0
    assert not Path("worker", "checkpoints").exists()
