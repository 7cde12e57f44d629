"""Disks that refuse: at every write of a run, and a real one that is full. Exit 5, the newest checkpoint is whole, and the run goes on."""

import contextlib
import errno
import itertools
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from lmkit.errors import LmkitError, MachineError
from lmkit.run.directory import RunDirectory
from lmkit.run.material import CACHE
from tools.faults import arithmetic
from tools.faults.prints import differences, fingerprint, saved_to
from tools.faults.processes import forked, never_left_behind, train
from tools.faults.table import Lab, Row

CODES = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
STEPS = 6
BLOCK = 4096
# Free blocks: enough for the lock, for the spec, ... for the token cache.
BEFORE = (0, 1, 2, 3, 4, 5, 6, 8, 12, 32, 80, 160)


def rows(lab: Lab) -> Iterator[Row]:
    """Every write of a run in numpy; then `lmkit train` on a tmpfs that is full from the start, and from each of its writes on."""
    with mock.patch("os.fsync"):  # these disks are well, they only say that they are not
        arithmetic.train(lab.folder("numbers") / "reference", STEPS)
        expected = fingerprint(lab.base / "numbers" / "reference")
        for code in CODES if not lab.short else CODES[:1]:
            yield _every_write(lab, code, expected)
    if not lab.short:
        yield from _full_disk(lab)


def _every_write(lab: Lab, code: int, expected: dict[str, Any]) -> Row:
    """From the k-th os.write on the disk refuses, for every k of the run; then it takes everything again."""
    name, wrong = errno.errorcode[code], list[str]()
    folder = lab.folder(name)
    for k in itertools.count():
        run = folder / str(k)
        refused, found = _refused_at(run, k, code)
        if not refused:
            break
        if found := found or _lost(run) or _after(run, expected):
            wrong.append(f"write {k}: {found}")
    lab.say(f"{name}: {k} writes, wrong: {wrong}")
    result = f"{k - len(wrong)}/{k} writes: exit 5, checkpoint whole, bit-identical afterwards" + "".join(f"; {w}" for w in wrong[:1])
    return Row(name, f"os.write refuses from the k-th on, a run of {STEPS} steps in numpy", result, "all", not wrong)


def _refused_at(run: Path, k: int, code: int) -> tuple[bool, str]:
    """Whether the run was refused anything, and what is wrong with how it took it."""
    calls, write = [0], os.write

    def refusing(descriptor: int, data: Any) -> int:
        calls[0] += 1
        if calls[0] <= k:
            return write(descriptor, data)
        raise OSError(code, os.strerror(code))

    try:
        with mock.patch("os.write", refusing):
            arithmetic.train(run, STEPS)
    except MachineError as error:
        said = str(error)
        return True, "" if os.strerror(code) in said and str(run) in said else f"said {said!r}"
    except Exception as error:
        return True, f"{type(error).__name__}: {error}"
    return calls[0] > k, "exit 0" if calls[0] > k else ""


def _lost(run: Path) -> str:
    """What is wrong with a run that was refused a write: the newest checkpoint must be whole, and one that was noted be there."""
    try:
        noted, saved = RunDirectory(run).notes.get("saved"), saved_to(run)
    except LmkitError as error:
        return str(error)
    return "the checkpoint is gone" if noted and not saved else ""


def _after(run: Path, expected: dict[str, Any]) -> str:
    """What is wrong with the run once it has gone on to its end."""
    try:
        arithmetic.train(run, STEPS)
        return ", ".join(differences(fingerprint(run), expected)[:3])
    except (LmkitError, AssertionError) as error:
        return f"did not go on: {error}"


def _full_disk(lab: Lab) -> Iterator[Row]:
    how, folder = f"lmkit train, {STEPS} steps, on a tmpfs of 24 MB, full", lab.folder("tmpfs")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "lmkit-faults", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        yield Row("ENOSPC", how, f"not done: mounting is not possible here ({error})", "exit 5", True)
        return
    try:
        disk = Disk(folder, lab)
        wrong = [wrong for left in BEFORE[: lab.rounds] if (wrong := disk.filled_at_the_start(left))]
        result = f"{len(BEFORE[: lab.rounds])} tries, {len(wrong)} wrong" + "".join(f"; {w}" for w in wrong[:1])
        yield Row("ENOSPC", f"{how} but for some blocks from the start on", result, "exit 5 that says so", not wrong)
        yield disk.at_every_write(how)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Disk:
    """A small file system with one run at a time, which is filled up while the run is at work."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        self.folder, self.run, self.log, self.ballast = folder, folder / "run", lab.base / "run.log", folder / "ballast"
        self._arguments, self._lab = train("tiny.yaml", f"training.steps={STEPS}", "training.evaluate_every=3 steps"), lab

    def filled_at_the_start(self, left: int) -> str:
        """Starts a run that has so many free blocks; says what is wrong."""
        _fill(self.ballast, left)
        code, said = self._started()
        shutil.rmtree(self.folder / CACHE, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)
        self._lab.say(f"{left} blocks: exit {code}: {said}")
        return "" if code == MachineError.exit_code and "No space" in said else f"{left} blocks: exit {code}: {said}"

    def at_every_write(self, how: str) -> Row:
        """For every k a run whose disk is full from its k-th os.write on, and that run once more, with space."""
        assert self._started()[0] == 0, self.log.read_text(errors="replace")
        expected, wrong, codes = fingerprint(self.run), list[str](), Counter[int]()
        for k in range(self._lab.rounds) if self._lab.rounds is not None else itertools.count():
            shutil.rmtree(self.run)
            code, said = self._started(partial(fill_at, k, self.ballast))
            if code is None:
                break
            found = "" if code == 0 or (code == MachineError.exit_code and re.search("No space|free are", said)) else f"exit {code}: {said}"
            found = found or _lost(self.run) or self._after(expected)
            codes[code] += 1
            self._lab.say(f"write {k}: exit {code}: {said}; wrong: {found}")
            wrong += [f"write {k}: {found}"] if found else []
        most = f"{sum(codes.values()) - len(wrong)}/{sum(codes.values())} writes: checkpoint whole, bit-identical afterwards"
        result = f"{most}; exit 5 in {codes[MachineError.exit_code]}, 0 in {codes[0]}" + "".join(f"; {w}" for w in wrong[:1])
        return Row("ENOSPC", f"{how} from its k-th write on", result, "all; 5, or 0 where nothing more had to be written", not wrong)

    def _started(self, first: Callable[[], None] | None = None) -> tuple[int | None, str]:
        """Exit code and last line of a start; no code where `first` was to fill the disk and did not. There is space again then."""
        process = forked(self._arguments, first)(self.run, self.log)
        with never_left_behind(process):
            code = process.wait(self._lab.limit)
        filled = self.ballast.exists()
        self.ballast.unlink(missing_ok=True)
        return code if filled or first is None else None, "".join(self.log.read_text(errors="replace").strip().splitlines()[-1:])

    def _after(self, expected: dict[str, Any]) -> str:
        code, said = self._started()
        return f"exit {code} when started again: {said}" if code else ", ".join(differences(fingerprint(self.run), expected)[:3])


def fill_at(count: int, ballast: Path) -> None:
    """From the call of os.write with this number on, counted from 0, there is no space in the file system of the ballast."""
    calls, write = itertools.count(), os.write

    def writing(descriptor: int, data: Any) -> int:
        if next(calls) == count:
            _fill(ballast, 0)
        return write(descriptor, data)

    os.write = writing


def _fill(ballast: Path, left: int) -> None:
    with ballast.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(64 * BLOCK)):
                pass
        with contextlib.suppress(OSError):
            while file.write(bytes(BLOCK)):
                pass
        file.truncate(max(0, file.tell() - left * BLOCK))
