"""A save, a retention and a change of the best, broken at every single operation: the old state or the new, never garbage."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lmkit.checkpoints import files, own
from lmkit.errors import MachineError

KILL = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import test_faults
points = iter(range(int(sys.argv[2])))
def fault(point):
    if next(points, None) is None:
        os._exit(137)
test_faults.advance(Path(sys.argv[1]), fault)
"""


class Killed(BaseException):
    """Stands for a kill: nothing in the code under test may catch it and go on."""


def tensors(step: int) -> dict[str, np.ndarray]:
    return {"a": np.full((3, 2), step, np.float32), "b": np.full(5, step + 0.5, np.float32)}


def put(run: Path, step: int, before: files.Before = files.nothing) -> None:
    own.save(run / "checkpoints", step, model=tensors(step), optimizer=tensors(-step), state={"step": step}, facts={}, before=before)


def start(run: Path) -> None:
    for step in (1, 2):
        put(run, step)
        own.set_best(run / "checkpoints", run / "best", step)


def advance(run: Path, before: files.Before) -> None:
    """From steps 1 and 2 to steps 2 and 3, best 3: everything that happens to the disk between two steps of training."""
    put(run, 3, before)
    own.set_best(run / "checkpoints", run / "best", 3, before=before)
    own.retain(run / "checkpoints", 2, before=before)


def points(tmp_path: Path) -> list[str]:
    start(tmp_path / "count")
    found: list[str] = []
    advance(tmp_path / "count", found.append)
    return found


def assert_old_or_new(run: Path) -> int:
    """Also that a restart goes on from there as if nothing had happened."""
    for directory in (run / "checkpoints", run / "best"):
        checkpoint = own.load(directory, say=pytest.fail)
        assert checkpoint is not None and checkpoint.step in (2, 3)
        assert checkpoint.state == {"step": checkpoint.step}
        for found, expected in ((checkpoint.model, tensors(checkpoint.step)), (checkpoint.optimizer, tensors(-checkpoint.step))):
            assert all(np.array_equal(found[name], expected[name]) for name in expected)
    at = own.steps(run / "checkpoints")[-1]
    for directory in (run / "checkpoints", run / "best"):
        files.sweep(directory)
    advance(run, files.nothing)
    assert own.steps(run / "checkpoints") == [2, 3] and own.steps(run / "best") == [3]
    assert sorted(p.name for p in run.glob("*/*")) == ["step-00000002", "step-00000003", "step-00000003"]
    return at


def test_stopped_at_every_point_it_is_the_old_state_or_the_new(tmp_path: Path) -> None:
    names = points(tmp_path)
    assert len(names) > 40, "every open, write, fsync, rename, link and delete is a point"
    outcomes = []
    for i in range(len(names)):
        run = tmp_path / str(i)
        start(run)
        left = iter(range(i))

        def fault(point: str, left=left) -> None:
            if next(left, None) is None:
                raise Killed(point)

        with pytest.raises(Killed, match=r".") as stop:
            advance(run, fault)
        assert str(stop.value) == names[i].replace(str(tmp_path / "count"), str(run))
        outcomes.append(assert_old_or_new(run))
    assert outcomes == sorted(outcomes), "once the new state is there, it stays"


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8, 0.99])
def test_killed_for_real_it_is_the_old_state_or_the_new(tmp_path: Path, share: float) -> None:
    count = len(points(tmp_path))
    start(tmp_path / "run")
    arguments = [str(tmp_path / "run"), str(int(share * count)), str(Path(__file__).parent)]
    assert subprocess.run([sys.executable, "-c", KILL, *arguments], check=False).returncode == 137
    assert_old_or_new(tmp_path / "run")


def failing(function: Callable, at: int, code: int) -> tuple[Callable, list[int]]:
    """The function, with its `at`-th call raising; a write does half of its work first, as a full disk does."""
    calls = [0]

    def call(*arguments):
        calls[0] += 1
        if calls[0] - 1 == at:
            if function is REAL["write"]:
                function(arguments[0], memoryview(arguments[1])[: len(arguments[1]) // 2])
            raise OSError(code, os.strerror(code))
        return function(*arguments)

    return call, calls


REAL = {name: getattr(os, name) for name in ("write", "fsync", "rename", "open")}


@pytest.mark.parametrize("name", sorted(REAL))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_refuses_at_any_call_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch, name: str, code: int) -> None:
    for at in range(100):
        run = tmp_path / f"{name}{at}"
        start(run)
        broken, calls = failing(REAL[name], at, code)
        monkeypatch.setattr(os, name, broken)
        try:
            put(run, 3)
            failed = False
        except MachineError as error:
            failed = True
            assert "previous one is intact" in str(error) and os.strerror(code) in str(error)
        finally:
            monkeypatch.setattr(os, name, REAL[name])
        if calls[0] <= at:
            assert at >= 1 and not failed, "every call has had its turn"
            break
        assert failed
        assert_old_or_new(run)


def test_a_full_disk_leaves_no_temporary_behind(tmp_path: Path, monkeypatch) -> None:
    start(tmp_path)
    broken, _ = failing(os.write, 2, errno.ENOSPC)
    monkeypatch.setattr(os, "write", broken)
    with pytest.raises(MachineError, match="free some space"):
        put(tmp_path, 3)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-00000001", "step-00000002"]


def test_sweeping_takes_only_our_own_leftovers(tmp_path: Path) -> None:
    for name in (".tmp-step-00000001-77", ".del-step-00000002-8", "tmp-step-1", ".bad-step-00000001", ".tmp-notes", "step-00000001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    files.sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".bad-step-00000001", ".tmp-notes", "step-00000001", "tmp-step-1"]


def test_a_small_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.json"
    files.write_file(path, "old")
    broken, _ = failing(os.write, 0, errno.ENOSPC)
    monkeypatch.setattr(os, "write", broken)
    with pytest.raises(MachineError):
        files.write_file(path, "new content")
    monkeypatch.undo()
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x.json"]
