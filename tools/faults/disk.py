"""Disks that refuse: at every write of a run, and a real one that is full. Exit 5, the newest checkpoint is whole, and the run goes on."""

import contextlib
import errno
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from lmkit.errors import LmkitError, MachineError
from lmkit.run.directory import RunDirectory
from lmkit.run.material import CACHE
from tools.faults import numbers
from tools.faults.prints import differences, fingerprint, saved_to
from tools.faults.processes import Start, finish, forked, freeze, never_left_behind, thaw, train
from tools.faults.table import Lab, Row

CODES = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
STEPS = 6
BLOCK = 4096
# Free blocks: enough for the lock, for the spec, ... for the token cache.
BEFORE: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 8, 12, 32, 80, 160, 320)
IN_A_SAVE: tuple[int, ...] = (0, 1, 2, 4, 8, 12, 16, 24)


def rows(lab: Lab) -> Iterator[Row]:
    """Every write of a run in numpy; then `lmkit train` on a full tmpfs, before its first step and during saves."""
    with mock.patch("os.fsync"):  # these disks are well, they only say that they are not
        numbers.train(lab.folder("numbers") / "reference", STEPS)
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
            numbers.train(run, STEPS)
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
        numbers.train(run, STEPS)
        return ", ".join(differences(fingerprint(run), expected)[:3])
    except (LmkitError, AssertionError) as error:
        return f"did not go on: {error}"


def _full_disk(lab: Lab) -> Iterator[Row]:
    start, how = forked(train("tiny.yaml", "training.steps=40")), "lmkit train on a tmpfs of 24 MB, full"
    folder = lab.folder("tmpfs")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "lmkit-faults", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        yield Row("ENOSPC", how, f"not done: mounting is not possible here ({error})", "exit 5", True)
        return
    try:
        disk = Disk(folder, start, lab)
        finish(start(folder / "reference", folder / "reference.log"), folder / "reference.log", limit=lab.limit)
        expected = fingerprint(folder / "reference")
        shutil.rmtree(folder / CACHE)
        for when, moment, counts in (
            ("before the first step", lambda: True, BEFORE),
            ("in a save", lambda: any(disk.run.glob("checkpoints/.tmp-step-*")), IN_A_SAVE),
        ):
            wrong = [wrong for left in counts[: lab.rounds] if (wrong := disk.filled(moment, left))]
            result = f"{len(counts[: lab.rounds])} tries, {len(wrong)} wrong" + "".join(f"; {w}" for w in wrong[:1])
            yield Row("ENOSPC", f"{how} {when}", result, "exit 5 that says so, checkpoint whole", not wrong)
        finish(start(disk.run, disk.log), disk.log, limit=lab.limit)
        wrong = differences(fingerprint(disk.run), expected)
        yield Row("ENOSPC", "that run with its space again", ", ".join(wrong[:3]) or "bit-identical", "bit-identical", not wrong)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Disk:
    """A small file system with one run, which is filled up while the run is at work."""

    def __init__(self, folder: Path, start: Start, lab: Lab) -> None:
        self.folder, self.run, self.log = folder, folder / "run", lab.base / "run.log"
        self._start, self._lab = start, lab

    def filled(self, moment: Callable[[], bool], left: int) -> str:
        """Starts the run, fills the disk at a moment until so many blocks are free, and frees it at the end; says what is wrong."""
        process, ballast = self._start(self.run, self.log), self.folder / "ballast"
        with never_left_behind(process):
            if not freeze(process, moment, limit=self._lab.limit):
                return f"{left} blocks: not hit"
            _fill(ballast, left)
            thaw(process)
            code = process.wait(self._lab.limit)
        ballast.unlink()
        said = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        self._lab.say(f"{left} blocks: exit {code}, saved {saved_to(self.run)}: {said}")
        if code != MachineError.exit_code or not re.search("No space|free are", " ".join(said)):
            return f"{left} blocks: exit {code}: {said}"
        return _lost(self.run)


def _fill(ballast: Path, left: int) -> None:
    with ballast.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(64 * BLOCK)):
                pass
        with contextlib.suppress(OSError):
            while file.write(bytes(BLOCK)):
                pass
        file.truncate(max(0, file.tell() - left * BLOCK))
