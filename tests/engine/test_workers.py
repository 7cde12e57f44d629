"""Whatever a process of several was doing when it lost another, it says so and waits for nobody; its own errors stay its own."""

import os
from collections.abc import Callable

import pytest
import tensorflow as tf

from lmkit.engine import workers
from lmkit.engine.cluster import Cluster
from lmkit.errors import DataError, Interrupted, MachineError


def aborted() -> None:
    raise tf.errors.UnavailableError(None, None, "a process has ended")


def save_that_fails_after_it() -> None:
    try:
        aborted()
    finally:
        raise MachineError("disk full")


def wrong_data() -> None:
    raise DataError("gone")


def mistake_of_a_step() -> None:
    raise tf.errors.InvalidArgumentError(None, None, "shapes")


@pytest.mark.parametrize(
    ("lost", "work", "raised", "code"),
    [
        (1, aborted, Interrupted, 75),
        (None, aborted, Interrupted, 75),
        (1, save_that_fails_after_it, Interrupted, 75),
        (1, mistake_of_a_step, Interrupted, 75),
        (1, wrong_data, DataError, 3),
        (None, wrong_data, DataError, None),
        (None, mistake_of_a_step, tf.errors.InvalidArgumentError, None),
    ],
)
def test_a_process_that_has_lost_another_ends_at_once_and_says_who_or_what_was_wrong_before(
    monkeypatch: pytest.MonkeyPatch, lost: int | None, work: Callable[[], None], raised: type[Exception], code: int | None
) -> None:
    class Watch:
        def __init__(self, cluster: Cluster, on_loss: Callable[[], None]) -> None:
            self.lost = lost

        def end(self) -> None:
            pass

    ends: list[tuple] = []
    monkeypatch.setattr(workers, "Watch", Watch)
    monkeypatch.setattr(workers.atexit, "register", lambda *call: ends.append(call))
    all_ = workers.Workers.__new__(workers.Workers)
    all_.cluster = Cluster(("127.0.0.1:1", "127.0.0.1:2"), 0, "TF_CONFIG")
    with pytest.raises(raised) as found, all_.together():
        work()
    assert ends == ([] if code is None else [(os._exit, code)])
    assert raised is not Interrupted or "worker 1 of 2 at 127.0.0.1:2 has ended" in str(found.value)
