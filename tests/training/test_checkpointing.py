"""Snapshots on disk: what the loop saved is what it goes on from, and a run that was to go on is never begun anew."""

import errno
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lmkit.checkpoints import own
from lmkit.errors import CheckpointError, MachineError
from lmkit.training.checkpointing import Checkpoints, newest_facts
from lmkit.training.hooks import Snapshot

MODEL = {"w": np.zeros((2, 3), np.float32)}
SLOTS = {"w/m": np.zeros((2, 3), np.float32)}
FACTS = {"data": "d1", "tokenizer": "t1", "decisions": {"precision": "float32"}}


def snapshot(step: int, best_step: int | None = None) -> Snapshot:
    model = {"w": np.full((2, 3), step, np.float32)}
    return Snapshot(step, model, {"w/m": -model["w"]}, {"step": step, "best_step": best_step, "best": 0.1}, {"loss": 1 / step})


class Settled(Checkpoints):
    """Each is on disk when the call returns."""

    def __call__(self, snapshot: Snapshot, *, best: bool) -> None:
        super().__call__(snapshot, best=best)
        self.settle(wait=True)


def checkpoints(run: Path, kind: type[Checkpoints] = Settled, **options) -> Checkpoints:
    return kind(run, **({"keep": 2, "facts": FACTS} | options))


def test_it_goes_on_from_what_was_saved_last(tmp_path: Path) -> None:
    save = checkpoints(tmp_path)
    for step in (1, 2, 3):
        save(snapshot(step), best=False)
    found = checkpoints(tmp_path).resume(model=MODEL, optimizer=SLOTS)
    assert found is not None and found.step == 3
    assert (found.state, found.metrics) == (snapshot(3).state, {"loss": 1 / 3})
    np.testing.assert_array_equal(found.model["w"], snapshot(3).model["w"])
    np.testing.assert_array_equal(found.optimizer["w/m"], snapshot(3).optimizer["w/m"])
    assert own.steps(tmp_path / "checkpoints") == [2, 3]


def test_the_log_is_on_disk_before_the_checkpoint_and_the_note_after(tmp_path: Path) -> None:
    order: list[str] = []
    save = checkpoints(
        tmp_path,
        before_save=lambda: order.append("log"),
        saved=lambda step: order.append(f"saved {step}"),
        before=lambda point: order.append(point.split()[0]),
    )
    save(snapshot(1), best=True)
    assert order[0] == "log" and order.index("done") < order.index("saved 1") < order.index("link")


def test_a_kill_between_a_checkpoint_and_its_place_as_the_best_is_made_good(tmp_path: Path) -> None:
    save = checkpoints(tmp_path)
    save(snapshot(1, best_step=1), best=True)
    save(snapshot(2, best_step=2), best=False)  # killed before it became the best
    assert own.steps(tmp_path / "best") == [1]
    save.resume(model=MODEL, optimizer=SLOTS)
    assert own.steps(tmp_path / "best") == [2]


def test_a_run_that_never_saved_begins_and_one_whose_checkpoints_are_gone_does_not(tmp_path: Path) -> None:
    assert checkpoints(tmp_path).resume(model=MODEL, optimizer=SLOTS) is None
    with pytest.raises(CheckpointError, match="saved step 20 and its checkpoints are gone"):
        checkpoints(tmp_path).resume(model=MODEL, optimizer=SLOTS, saved=20)


def test_another_model_or_optimizer_is_refused_by_name_and_shape(tmp_path: Path) -> None:
    save = checkpoints(tmp_path)
    save(snapshot(1), best=False)
    with pytest.raises(CheckpointError, match=r"w is \[2, 3\] in the checkpoint and \[4, 3\] in the model"):
        save.resume(model={"w": np.zeros((4, 3), np.float32)}, optimizer=SLOTS)
    with pytest.raises(CheckpointError, match="missing: w/v"):
        save.resume(model=MODEL, optimizer=SLOTS | {"w/v": SLOTS["w/m"]})


def test_decisions_of_the_first_start_are_found_before_a_model_is_built(tmp_path: Path) -> None:
    assert newest_facts(tmp_path) == {}
    save = checkpoints(tmp_path)
    save(snapshot(1), best=False)
    save(snapshot(2), best=False)
    (tmp_path / "checkpoints" / "step-00000002" / "MANIFEST.json").write_text("{")
    assert newest_facts(tmp_path)["decisions"] == {"precision": "float32"}


def test_a_best_that_is_gone_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    save = checkpoints(tmp_path, say=said.append)
    save(snapshot(5, best_step=3), best=False)
    assert save.resume(model=MODEL, optimizer=SLOTS) is not None
    assert len(said) == 1 and "step 3" in said[0]


def test_going_back_deletes_what_is_later_and_keeps_the_best(tmp_path: Path) -> None:
    said: list[str] = []
    save = checkpoints(tmp_path, keep=9, say=said.append)
    for step in (2, 4, 6, 8):
        save(snapshot(step, best_step=min(step, 6)), best=step == 6)
    found = save.back_to(5)
    assert found is not None and found.step == 4 and found.state == snapshot(4, best_step=4).state
    assert own.steps(tmp_path / "checkpoints") == [2, 4] and own.steps(tmp_path / "best") == [6]
    assert save.resume(model=MODEL, optimizer=SLOTS) is not None and own.steps(tmp_path / "best") == [6] and not said
    assert checkpoints(tmp_path / "empty").back_to(5) is None


def test_a_snapshot_is_written_beside_its_giver_and_the_next_waits_for_it(tmp_path: Path) -> None:
    go_on, begun, seen = threading.Event(), threading.Event(), []

    def fault(point: str) -> None:
        begun.set()
        seen.append(threading.current_thread() is threading.main_thread())
        assert go_on.wait(30)

    save = checkpoints(tmp_path, Checkpoints, before=fault)
    save(snapshot(1), best=False)
    assert begun.wait(30) and own.steps(tmp_path / "checkpoints") == []
    save.settle(wait=False)
    threading.Timer(0.2, go_on.set).start()
    save(snapshot(2), best=True)
    assert own.steps(tmp_path / "checkpoints")[:1] == [1]
    save.settle(wait=True)
    assert own.steps(tmp_path / "checkpoints") == [1, 2] and own.steps(tmp_path / "best") == [2] and not any(seen)


def test_who_waits_for_a_disk_beats_while_it_goes_on_and_not_while_it_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmkit.training.background.LOOKS", 0.01)
    go_on, beats, operations = threading.Event(), [], []

    def slow(point: str) -> None:
        operations.append(point)
        time.sleep(0.03)
        if len(operations) == 9:
            assert go_on.wait(30)

    save = checkpoints(tmp_path, Checkpoints, before=slow, beat=lambda: beats.append(threading.current_thread()))
    save(snapshot(1), best=True)
    waiter = threading.Thread(target=lambda: save.settle(wait=True))
    waiter.start()
    while len(operations) < 9:
        time.sleep(0.01)
    time.sleep(0.1)
    then = len(beats)
    time.sleep(0.2)
    assert 2 <= then == len(beats), "nothing moves, nobody beats"
    go_on.set()
    waiter.join()
    assert len(beats) > then and set(beats) == {waiter}


@pytest.mark.parametrize("asked", ["next", "step", "end"])
def test_a_failure_is_raised_once_by_whatever_comes_next_and_the_previous_checkpoint_stays(tmp_path: Path, asked: str) -> None:
    checkpoints(tmp_path)(snapshot(1), best=True)

    def full(point: str) -> None:
        if point.startswith("fsync model"):
            raise OSError(errno.ENOSPC, "No space left on device")

    save = checkpoints(tmp_path, Checkpoints, before=full)
    save(snapshot(2), best=True)
    with pytest.raises(MachineError, match="step 2 is not saved, the previous one is intact: No space left on device; free some space"):
        if asked == "next":
            save(snapshot(3), best=False)
        elif asked == "end":
            save.settle(wait=True)
        while True:
            save.settle(wait=False)
    save.settle(wait=True)
    assert own.steps(tmp_path / "checkpoints") == own.steps(tmp_path / "best") == [1]
    own.verify(tmp_path / "checkpoints" / "step-00000001")
