"""One process per run directory: flock on run.lock, which names its holder and ends with the process however that ends."""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lmkit.checkpoints.files import machine_errors, write_all
from lmkit.errors import MachineError, Problem

NOT_SUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LOOKS, PAUSE = 50, 0.02  # at the name of a holder, and seconds between them


class Lock:
    """A lock that is held. It is released by `release`, or by the end of the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    def require(self) -> None:
        """Raises MachineError where the file, and most likely the directory around it, has been taken from under the holder."""
        if not _is_still(self.path, self._descriptor):
            what = "the run directory was moved or deleted while it was in use; what was saved is in it, bring it back to go on"
            raise MachineError(Problem(what, where=str(self.path.parent)))

    def release(self) -> None:
        """Empties the file, so that the next holder knows that this one ended in order, and lets go; twice is harmless."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def take(path: Path, *, say: Callable[[str], None] = lambda line: None) -> Lock:
    """Takes the lock at once or raises MachineError naming the process and host that hold it.

    A lock whose holder was killed, or ran before the machine was started again, is taken over with a line through `say`.
    """
    with machine_errors("the run directory cannot be locked", path):
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _flock(descriptor, path, say)
                if _is_still(path, descriptor):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # moved away by --from-scratch between opening and locking
        try:
            former = _holder(descriptor)
            if former:
                say(f"{path}: taken over from process {former['pid']} on {former['host']}, which ended without releasing it")
            mine = {"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot()}
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            write_all(descriptor, json.dumps(mine).encode() + b"\n")
        except BaseException:
            os.close(descriptor)
            raise
    return Lock(path, descriptor)


def _flock(descriptor: int, path: Path, say: Callable[[str], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(path, _named(descriptor)) from None
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        say(f"{path}: this file system has no locks; two processes started at the same moment would not notice each other")
        holder = _holder(descriptor)
        if holder and (holder["host"] != socket.gethostname() or _alive(holder)):
            raise _in_use(path, holder) from None


def _in_use(path: Path, holder: dict[str, Any] | None) -> MachineError:
    if holder is None:
        who = "another process"
    elif holder["host"] == socket.gethostname() and not _alive(holder):
        who = f"what process {holder['pid']} on {holder['host']} left running when it ended"
    else:
        who = f"process {holder['pid']} on {holder['host']}"
    return MachineError(Problem(f"this run is in use by {who}; wait for it or stop it", where=str(path)))


def _holder(descriptor: int) -> dict[str, Any] | None:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return found if isinstance(found, dict) and {"pid", "host", "boot"} <= found.keys() else None
    except ValueError:
        return None


def _named(descriptor: int) -> dict[str, Any] | None:
    """The holder, which writes its name a moment after it has the lock."""
    for _ in range(LOOKS):
        if holder := _holder(descriptor):
            return holder
        time.sleep(PAUSE)
    return None


def _alive(holder: dict[str, Any]) -> bool:
    if holder["boot"] != _boot():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _boot() -> str:
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
