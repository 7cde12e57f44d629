"""A process that no longer gets anywhere: its stacks are written down and it ends, so that whoever started it starts it again."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from lmkit.errors import Interrupted
from lmkit.run.signals import StopRequest

REPORT = "hang.txt"
FIRST = 6  # times longer may a pause be until the first step, which is compiled
LONGEST = 3  # so many times the longest pause is no hang either
LOOKS = 20  # within the shortest time that may be a hang
LAST = 30.0  # seconds to write the stacks down: what hangs may hold the disk or the terminal too


class Patience:
    """How long a pause between two signs of life may be; while the process `waits` for others there is none."""

    def __init__(self, seconds: float, waits: Callable[[], bool] = lambda: False, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._waits, self._clock, self._at = seconds, waits, clock, clock()
        self._longest, self._begun = 0.0, False

    def sign(self) -> None:
        """The process does something."""
        now = self._clock()
        self._longest, self._at = max(self._longest, now - self._at), now

    def step(self) -> None:
        """It has done a step."""
        self.sign()
        self._begun = True

    def lost(self) -> float:
        """Seconds since the last sign where they are too many, else 0."""
        if self._waits():
            self._at = self._clock()
        pause = self._clock() - self._at
        return pause if pause > max(self._seconds * (1 if self._begun else FIRST), LONGEST * self._longest) else 0.0


@contextmanager
def watched(
    stop: StopRequest, seconds: float | None, report: Path | None, say: Callable[[str], None], waits: Callable[[], bool] = lambda: False
) -> Iterator[Patience]:
    """Within the block, asking `stop` is a sign of life; without one for too long, the process ends with the code of Interrupted.

    `seconds` is the shortest time that may be too long; None: whatever happens, nothing is done. The stacks of all threads are
    written to `report`, or to standard error where there is none; while the process `waits` for others, it is not watched.
    """
    patience, ended = Patience(seconds or 0.0, waits), threading.Event()
    if seconds is None:
        yield patience
        return

    def watch(every: float) -> None:
        while not ended.wait(every):
            if pause := patience.lost():
                _end(report, pause, say)

    thread = threading.Thread(target=watch, args=(min(seconds / LOOKS, 5.0),), name="watchdog", daemon=True)
    former, stop.heard = stop.heard, patience.sign
    thread.start()
    try:
        yield patience
    finally:
        stop.heard = former
        ended.set()
        thread.join()


def _end(report: Path | None, pause: float, say: Callable[[str], None]) -> None:
    threading.Timer(LAST, os._exit, (Interrupted.exit_code,)).start()
    try:
        with report.open("w", encoding="utf-8") if report else nullcontext(sys.stderr) as file:
            faulthandler.dump_traceback(file, all_threads=True)
        where = f"{report} says" if report else "the lines above say"
        span = f"{pause:.0f}" if pause >= 10 else f"{pause:.2g}"
        say(
            f"nothing has happened for {span} seconds (runtime.hang_minutes); {where} where every thread stands; the same command continues"
        )
    finally:
        os._exit(Interrupted.exit_code)
