"""Kills training processes with SIGKILL, starts them again, and compares what they end with, bit by bit, with a run left in peace."""

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmkit.checkpoints import own
from lmkit.training import events, tags
from lmkit.training.logging import read_metrics

Command = Callable[[Path], Sequence[str]]  # from a run directory to the command that trains in it
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
    differences: list[str] = field(default_factory=list)


def fingerprint(run: Path) -> dict[str, Any]:
    """Everything that must be equal: sha256 of every tensor, the state, the best, every point of every log; no clock readings.

    Raises AssertionError when a step occurs twice or out of order.
    """
    steps = own.steps(run / "checkpoints")
    newest = own.verify(run / "checkpoints" / own.name_of(steps[-1]))
    found: dict[str, Any] = {"step": newest.step, "kept": steps, "state": newest.files[own.STATE].sha256}
    found["model"] = {name: entry.sha256 for name, entry in newest.model.items()}
    found["optimizer"] = {name: entry.sha256 for name, entry in newest.optimizer.items()}
    for step in own.steps(run / "best"):
        found[f"best {step}"] = {n: e.sha256 for n, e in own.verify(run / "best" / own.name_of(step)).model.items()}
    lines = [{k: v for k, v in line.items() if k in ("step", "kind") or not tags.is_timed(k)} for line in read_metrics(run)]
    found["metrics.jsonl"] = lines
    for kind in (tags.TRAIN, tags.VALIDATION):
        once([line["step"] for line in lines if line["kind"] == kind], f"{kind} in metrics.jsonl")
        found[f"tensorboard/{kind}"] = _points(run / "tensorboard" / kind)
    return found


def _points(directory: Path) -> list[tuple[str, int, str]]:
    files = sorted(directory.glob("*tfevents*"))
    assert len(files) <= 1, f"{directory} has {len(files)} event files"
    points = []
    for event in events.records(files[0].read_bytes()) if files else ():
        for value in event.summary.value:
            value.ClearField("metadata")
            if value.tag.startswith("weights/") or value.tag in ("spec", "samples") or not tags.is_timed(value.tag.removeprefix("run/")):
                points.append((value.tag, event.step, value.tensor.SerializeToString(deterministic=True).hex()))
    for tag in {point[0] for point in points}:
        once([step for name, step, _ in points if name == tag], f"{tag} in {directory}")
    return points


def once(steps: list[int], where: str) -> None:
    """Raises AssertionError unless the steps go up."""
    assert all(a < b for a, b in itertools.pairwise(steps)), f"{where}: steps occur twice or out of order: {steps}"


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Names of what differs, tensors one by one."""
    names = []
    for key in sorted(found.keys() | expected.keys()):
        one, other = found.get(key), expected.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            names += [f"{key}: {name}" for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
        elif one != other:
            names.append(key)
    return names


class Killer:
    """Starts `command(run)` again and again, in a session of its own, with a kill at a random moment each time."""

    def __init__(self, command: Command, *, seed: int, seconds: float, limit: float = 600.0) -> None:
        self._command, self._random, self._seconds, self._limit = command, random.Random(seed), seconds, limit
        self.outcome = Outcome(seed)

    def run(self, run: Path, kills: int) -> Outcome:
        """Kills `kills` times at most (fewer when the run is done before), then lets it finish. Raises AssertionError when it cannot."""
        began = time.monotonic()
        for number in range(kills):
            if self._start_and_kill(run, AIMS[(number + self.outcome.seed) % len(AIMS)]):
                break
        process, log = self._start(run)
        with _never_left_behind(process):
            code = process.wait(timeout=self._limit)
        assert code == 0, f"start {self.outcome.starts} ended with {code}:\n{log.read_text(errors='replace')[-3000:]}"
        self.outcome.rejected = len(list(run.glob("*/.bad-*")))
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _start(self, run: Path) -> tuple[subprocess.Popen, Path]:
        self.outcome.starts += 1
        log = run.with_name(f"{run.name}.{self.outcome.starts}.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(run), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        return process, log

    def _start_and_kill(self, run: Path, aim: str) -> bool:
        """True when the process was done before its kill."""
        process, log = self._start(run)
        with _never_left_behind(process):
            self._wait_for(aim, run, process)
        if process.poll() is not None:
            assert process.returncode == 0, f"ended by itself with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}"
            return True
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        left = [p for p in run.glob("*/.*-step-*") if p.name.startswith((".tmp-", ".del-"))]
        self.outcome.kills.append(aim)
        self.outcome.in_flight += bool(left)
        return False

    def _wait_for(self, aim: str, run: Path, process: subprocess.Popen) -> None:
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

    def _sleep(self, seconds: float, process: subprocess.Popen) -> None:
        end = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.001)


@contextlib.contextmanager
def _never_left_behind(process: subprocess.Popen) -> Iterator[None]:
    """Being in a session of its own, the process would outlive a killer that is stopped."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _names(directory: Path, prefix: str) -> set[str]:
    try:
        return {name for name in os.listdir(directory) if name.startswith(prefix)}
    except FileNotFoundError:
        return set()


def reference(command: Command, run: Path, *, limit: float = 600.0) -> tuple[dict[str, Any], float]:
    """Trains once undisturbed; returns the fingerprint and the seconds it took."""
    killer = Killer(command, seed=0, seconds=0.0, limit=limit)
    outcome = killer.run(run, 0)
    return fingerprint(run), outcome.seconds


def campaign(
    command: Command,
    base: Path,
    *,
    runs: int,
    kills: int,
    seed: int = 0,
    limit: float = 600.0,
    told: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """A reference and `runs` killed runs under `base`; each outcome lists how it differs from the reference."""
    expected, seconds = reference(command, base / "reference", limit=limit)
    outcomes = []
    for number in range(runs):
        killer = Killer(command, seed=seed + number, seconds=seconds, limit=limit)
        run = base / f"killed-{number}"
        try:
            killer.run(run, kills)
            killer.outcome.differences = differences(fingerprint(run), expected)
        except AssertionError as error:
            killer.outcome.differences = [str(error)]
        told(killer.outcome)
        outcomes.append(killer.outcome)
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """One line per run, and the sum."""
    lines = [f"{'run':>4} {'kills':>5} {'in a save':>9} {'starts':>6} {'set aside':>9} {'seconds':>7}  result"]
    for i, o in enumerate(outcomes):
        result = "bit-identical" if not o.differences else f"{len(o.differences)} differences: {o.differences[0]}"
        lines.append(f"{i:>4} {len(o.kills):>5} {o.in_flight:>9} {o.starts:>6} {o.rejected:>9} {o.seconds:>7.1f}  {result}")
    equal = sum(not o.differences for o in outcomes)
    kills, hits = sum(len(o.kills) for o in outcomes), sum(o.in_flight for o in outcomes)
    aims = {aim: sum(o.kills.count(aim) for o in outcomes) for aim in AIMS}
    lines.append(
        f"{equal} of {len(outcomes)} runs bit-identical after {kills} kills, {hits} of them within a save or a deletion; {json.dumps(aims)}"
    )
    return "\n".join(lines)
