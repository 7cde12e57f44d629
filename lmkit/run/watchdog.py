"""A run that no longer gets anywhere: its stacks are written down and the process ends, so that whoever started it starts it again."""

import faulthandler
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lmkit.errors import Interrupted
from lmkit.run.signals import StopRequest

REPORT = "hang.txt"
FIRST = 6  # times longer may a process take until the first step, which is compiled
MEDIANS, LONGEST = 10, 3  # so many times the median of all pauses, and the longest, are no hang either
LOOKS = 20  # within the shortest time that may be a hang


class Patience:
    """How long a pause between two signs of life may be, from those that there were."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock, self._at = seconds, clock, clock()
        self._pauses: deque[float] = deque(maxlen=1000)
        self._longest, self._begun = 0.0, False

    def sign(self) -> None:
        """The process does something."""
        now = self._clock()
        self._pauses.append(now - self._at)
        self._longest, self._at = max(self._longest, now - self._at), now

    def step(self) -> None:
        """A step is done; the first one takes too long to be a usual pause."""
        self.sign()
        if not self._begun:
            self._begun = True
            self._pauses.clear()

    def lost(self) -> float:
        """Seconds since the last sign where they are too many, else 0."""
        pause = self._clock() - self._at
        shortest = self._seconds * (1 if self._begun else FIRST)
        limit = max(shortest, MEDIANS * statistics.median([*self._pauses] or [0.0]), LONGEST * self._longest)
        return pause if pause > limit else 0.0


@contextmanager
def watched(stop: StopRequest, seconds: float | None, run: Path, say: Callable[[str], None]) -> Iterator[Patience]:
    """Within the block, asking `stop` is a sign of life; without one for too long, the process ends with the code of Interrupted.

    `seconds` is the shortest time that may be too long; None: whatever happens, nothing is done.
    """
    patience, ended = Patience(seconds or 0.0), threading.Event()

    def watch(every: float) -> None:
        while not ended.wait(every):
            if pause := patience.lost():
                _end(run / REPORT, pause, say)

    thread = threading.Thread(target=watch, args=(min((seconds or 0.0) / LOOKS, 5.0),), name="watchdog", daemon=True)
    former, stop.heard = stop.heard, patience.sign
    if seconds is not None:
        thread.start()
    try:
        yield patience
    finally:
        stop.heard = former
        ended.set()
        if seconds is not None:
            thread.join()


def _end(report: Path, pause: float, say: Callable[[str], None]) -> None:
    try:
        with report.open("w", encoding="utf-8") as file:
            faulthandler.dump_traceback(file, all_threads=True)
        say(f"nothing has happened for {pause:.0f} seconds; {report} says where every thread stands; the same command continues")
    finally:  # whatever hangs may hold the disk or the terminal too
        os._exit(Interrupted.exit_code)
