"""SIGKILL at random and at aimed moments, again and again: every run ends with the bits of the one that was left in peace."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.faults.prints import differences, fingerprint
from tools.faults.processes import Process, Start, afresh, finish, forked, never_left_behind, shell, train
from tools.faults.table import Lab, Row

AIMS = ("save", "anywhere", "log", "delete")


@dataclass
class Outcome:
    """What became of one run: its kills by aim, those that hit a save or a deletion, and how it differs from the reference."""

    seed: int
    starts: int = 0
    kills: list[str] = field(default_factory=list)
    in_flight: int = 0  # kills that left a half-written or half-deleted checkpoint behind
    rejected: int = 0  # checkpoints set aside as damaged
    seconds: float = 0.0
    unresumable: str = ""  # what the start said that could not go on
    differences: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether the run came to its end with the bits of the reference."""
        return not self.unresumable and not self.differences

    def __str__(self) -> str:
        ending = self.unresumable or f"{len(self.differences)} differences: {self.differences[:1]}"
        kills = f"{len(self.kills)} kills, {self.in_flight} within a save or a deletion; {self.starts} starts; {self.rejected} set aside"
        return f"run {self.seed}: {kills}; {self.seconds:.0f} s; {'bit-identical' if self.is_equal else ending}"


class Killer:
    """Starts a training again and again, with a kill at a random moment each time."""

    def __init__(self, start: Start, *, seed: int, seconds: float, limit: float = 600.0) -> None:
        self._begin, self._random, self._seconds, self._limit = start, random.Random(seed), seconds, limit
        self.outcome = Outcome(seed)

    def run(self, run: Path, kills: int) -> Outcome:
        """Kills `kills` times at most (fewer when the run is done before), then lets it finish. Raises AssertionError when it cannot."""
        began = time.monotonic()
        for number in range(kills):
            if self._start_and_kill(run, AIMS[(number + self.outcome.seed) % len(AIMS)]):
                break
        process, log = self._start(run)
        finish(process, log, limit=self._limit)
        self.outcome.rejected = len(list(run.glob("*/.bad-*")))
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _start(self, run: Path) -> tuple[Process, Path]:
        self.outcome.starts += 1
        log = run.with_name(f"{run.name}.{self.outcome.starts}.log")
        return self._begin(run, log), log

    def _start_and_kill(self, run: Path, aim: str) -> bool:
        """True when the process was done before its kill."""
        process, log = self._start(run)
        with never_left_behind(process):
            self._wait_for(aim, run, process)
        if process.poll() is not None:
            finish(process, log, limit=self._limit)
            return True
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        left = [p for p in run.glob("*/.*-step-*") if p.name.startswith((".tmp-", ".del-"))]
        self.outcome.kills.append(aim)
        self.outcome.in_flight += bool(left)
        return False

    def _wait_for(self, aim: str, run: Path, process: Process) -> None:
        """Waits for a moment of the kind aimed at, and then a random while."""
        patience = time.monotonic() + self._limit
        if aim == "anywhere":
            self._sleep(self._random.uniform(0, self._seconds / 2), process)
            return
        logged, skip = _size(run / "metrics.jsonl"), self._random.randrange(6)
        seen: set[str] = set()
        while process.poll() is None and time.monotonic() < patience:
            if aim == "log":
                size = _size(run / "metrics.jsonl")
                if size not in (0, logged):
                    logged, skip = size, skip - 1
            else:
                new = _names(run / "checkpoints", ".tmp-" if aim == "save" else ".del-") - seen
                seen |= new
                skip -= len(new)
            if skip < 0:
                break
            time.sleep(0.0002)
        time.sleep(self._random.uniform(0, 0.02 if aim == "log" else 0.008))

    def _sleep(self, seconds: float, process: Process) -> None:
        end = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.001)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _names(directory: Path, prefix: str) -> set[str]:
    try:
        return {name for name in os.listdir(directory) if name.startswith(prefix)}
    except FileNotFoundError:
        return set()


def reference(start: Start, run: Path, *, limit: float = 600.0) -> tuple[dict[str, Any], float]:
    """Trains once undisturbed; returns the fingerprint and the seconds it took."""
    outcome = Killer(start, seed=0, seconds=0.0, limit=limit).run(run, 0)
    return fingerprint(run), outcome.seconds


def campaign(
    start: Start,
    base: Path,
    *,
    runs: int,
    kills: int,
    seed: int = 0,
    limit: float = 600.0,
    told: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """A reference and `runs` killed runs under `base`; each outcome lists how it differs from the reference."""
    expected, seconds = reference(start, base / "reference", limit=limit)
    outcomes = []
    for number in range(runs):
        killer = Killer(start, seed=seed + number, seconds=seconds, limit=limit)
        run = base / f"killed-{number}"
        try:
            killer.run(run, kills)
            killer.outcome.differences = differences(fingerprint(run), expected)
        except AssertionError as error:
            killer.outcome.unresumable = str(error)
        told(str(killer.outcome))
        outcomes.append(killer.outcome)
    return outcomes


def summary(outcomes: Sequence[Outcome]) -> str:
    """The figures of a campaign in one line."""
    kills, hits = sum(len(o.kills) for o in outcomes), sum(o.in_flight for o in outcomes)
    aims = ", ".join(f"{sum(o.kills.count(aim) for o in outcomes)} {aim}" for aim in AIMS)
    ends = f"{sum(bool(o.unresumable) for o in outcomes)} unresumable, {sum(o.is_equal for o in outcomes)}/{len(outcomes)} bit-identical"
    return f"{kills} kills ({aims}; {hits} within a save or a deletion): {ends}"


def rows(lab: Lab) -> Iterator[Row]:
    """Kills of the training in numpy, and of `lmkit train`."""
    numbers = afresh(lambda run: [sys.executable, "-m", "tools.faults.arithmetic", str(run)])
    count = lab.many(20, 200)
    kinds = [("the run directory, written by numpy", numbers, count, 10)]
    if not lab.short:
        words = ("training.steps=60", "training.evaluate_every=20 steps")
        kinds.append(("lmkit train, forked", forked(train("tiny.yaml", *words)), count, 10))
        kinds.append(("lmkit train, started afresh", afresh(shell("tiny.yaml", *words)), count // 20, 10))
    for i, (how, start, kills, each) in enumerate(kinds):
        outcomes = campaign(start, lab.folder(str(i)), runs=-(-kills // each), kills=each, seed=lab.seed, limit=lab.limit, told=lab.say)
        yield Row("SIGKILL", how, summary(outcomes), "0 unresumable, all bit-identical", all(o.is_equal for o in outcomes))
