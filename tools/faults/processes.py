"""Trainings in processes of their own: started afresh or forked, waited for, and frozen at the moment that a fault is aimed at."""

import contextlib
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

PRELOADED = ["lmkit.run.train", "lmkit.run.session"]
POLL = 0.0005  # seconds
HERE = Path(__file__).resolve().parent


class Process(Protocol):
    """What is used of subprocess.Popen."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...


Arguments = Callable[[Path], Sequence[str]]  # from a run directory to what is on the command line
Start = Callable[[Path, Path], Process]  # from a run directory and the file for the output to a process that runs


def train(spec: str, *overrides: str) -> Arguments:
    """Arguments of lmkit that train a spec of this folder."""
    return lambda run: ["train", str(HERE / spec), "--run-dir", str(run), *overrides]


def shell(spec: str, *overrides: str) -> Arguments:
    """The command that does so."""
    return lambda run: [sys.executable, "-m", "lmkit.cli", *train(spec, *overrides)(run)]


def afresh(command: Arguments) -> Start:
    """Starts the command as a shell would."""

    def start(run: Path, log: Path) -> Process:
        with log.open("wb") as output:
            return subprocess.Popen(command(run), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=HERE.parents[1])

    return start


def forked(arguments: Arguments, first: Callable[[], None] | None = None) -> Start:
    """Runs lmkit's `main(arguments)` in forks of a process that has imported TensorFlow and used nothing of it: a start costs half.

    `first` is called in the fork before that.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)

    def start(run: Path, log: Path) -> Process:
        process = context.Process(target=_main, args=(list(arguments(run)), str(log), first))
        process.start()
        return Fork(process)

    return start


class Fork:
    """A forked process with the face of a Popen."""

    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        assert process.pid is not None
        self._process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("lmkit", timeout or 0)
        return code


def _main(arguments: list[str], log: str, first: Callable[[], None] | None) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    if first is not None:
        first()
    sys.exit(importlib.import_module("lmkit.cli").main(arguments))


@contextlib.contextmanager
def never_left_behind(process: Process) -> Iterator[None]:
    """Whoever stops waiting for the process ends it."""
    try:
        yield
    except BaseException:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        raise


def finish(process: Process, log: Path, *, limit: float, codes: Sequence[int] = (0,)) -> int:
    """Waits for the end; raises AssertionError with the end of the output unless it is one of `codes`."""
    with never_left_behind(process):
        code = process.wait(timeout=limit)
    assert code in codes, f"ended with {code} instead of {' or '.join(map(str, codes))}:\n{log.read_text(errors='replace')[-3000:]}"
    return code


def freeze(process: Process, is_now: Callable[[], bool], *, limit: float) -> bool:
    """Stops the process at a moment of a kind, and looks again when it stands still: True when the moment is still that.

    False when the process ended before, or the time is over. Who gets True lets it go on with SIGCONT.
    """
    patience = time.monotonic() + limit
    while process.poll() is None and time.monotonic() < patience:
        if is_now():
            os.kill(process.pid, signal.SIGSTOP)
            while process.poll() is None and _state(process.pid) not in "TZ":
                time.sleep(POLL)
            if process.poll() is None and is_now():
                return True
            thaw(process)
        time.sleep(POLL)
    return False


def thaw(process: Process) -> None:
    """Lets a frozen process go on."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
