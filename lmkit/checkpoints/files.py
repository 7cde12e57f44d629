"""Durable files: bytes are on disk before a name points to them, and of every operation it can be heard before it is done."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lmkit.errors import MachineError, Problem

Before = Callable[[str], None]
ADVICE = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some of the quota and run the same command again",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the device reports an input/output error; look at the system log",
    errno.EACCES: "check owner and permissions",
}
LEFTOVER = re.compile(r"\.(tmp|del)-step-\d{8,}-\d+$")
LEFTOVER_FILE = re.compile(r"\.tmp-\d+$")


def nothing(point: str) -> None:
    """For who need not hear of operations."""


@contextlib.contextmanager
def machine_errors(doing: str, path: Path) -> Iterator[None]:
    """Turns an OSError of the block into a MachineError that says what was being done, where, and what to do."""
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0)
        what = f"{doing}: {error.strerror or error}" + (f"; {advice}" if advice else "")
        raise MachineError(Problem(what, where=str(path))) from error


@dataclass(frozen=True)
class Written:
    """Size in bytes and sha256 of a file as it was written."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Disk:
    """The few operations a checkpoint is made of; `before(point)` is called before each of them."""

    before: Before = nothing

    def write(self, path: Path, chunks: Iterable[bytes | memoryview]) -> Written:
        """Writes a new file, one system call or more per chunk, and syncs it to disk."""
        digest, size = hashlib.sha256(), 0
        self.before(f"open {path.name}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            for i, chunk in enumerate(chunks):
                self.before(f"write {path.name} chunk {i}")
                write_all(descriptor, chunk)
                digest.update(chunk)
                size += len(chunk)
            self.before(f"fsync {path.name}")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return Written(size, digest.hexdigest())

    def make_directory(self, path: Path) -> None:
        """Creates a directory that does not exist yet."""
        self.before(f"mkdir {path.name}")
        path.mkdir()

    def make_directories(self, path: Path) -> None:
        """Creates a directory, and those above it, where they do not exist, and puts their names on disk."""
        if not path.is_dir():
            self.make_directories(path.parent)
            self.before(f"mkdir {path.name}")
            path.mkdir(exist_ok=True)
            self.sync(path.parent)

    def sync(self, directory: Path) -> None:
        """Puts the names in a directory on disk."""
        self.before(f"fsync {directory.name}")
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Gives a file or directory its new name in one step, and puts the name on disk."""
        self.before(f"rename {old.name} {new.name}")
        os.rename(old, new)
        self.sync(new.parent)

    def link(self, old: Path, new: Path) -> None:
        """Gives a file a second name; where the file system has no such thing, copies it."""
        self.before(f"link {new.name}")
        try:
            os.link(old, new)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EMLINK):
                raise
            with open(old, "rb") as source:
                self.write(new, iter(lambda: source.read(1 << 24), b""))

    def delete(self, directory: Path) -> None:
        """Removes a directory of plain files; it loses its name first, so that nobody ever finds half of it."""
        doomed = directory
        if not directory.name.startswith("."):
            doomed = directory.with_name(f".del-{directory.name}-{os.getpid()}")
            if doomed.exists():  # left by a killed process that had the same number
                self.delete(doomed)
            self.rename(directory, doomed)
        for file in sorted(doomed.iterdir()):
            self.before(f"unlink {file.name}")
            file.unlink()
        self.before(f"rmdir {doomed.name}")
        doomed.rmdir()


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """os.write until everything is written (one call may take less than it is given)."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_file(path: Path, data: bytes | str) -> None:
    """Replaces a small file in one step: readers see the old content or the new, even after a power cut.

    Raises MachineError when the disk refuses; the old content is intact then.
    """
    disk = Disk()
    temporary = path.with_name(f".tmp-{os.getpid()}")  # without its name, which could tell other programs to read it
    with machine_errors(f"cannot write {path.name}", path):
        try:
            disk.write(temporary, [data.encode() if isinstance(data, str) else data])
            disk.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def require_outside(dest: Path, source: Path) -> None:
    """Raises MachineError where a folder to make would lie in the one that it is made from."""
    if source.resolve() in dest.resolve().parents:
        raise MachineError(Problem(f"is inside {source}; name another folder; nothing was touched", where=str(dest)))


@contextlib.contextmanager
def new_folder(dest: Path, doing: str) -> Iterator[Path]:
    """A folder to fill, which becomes `dest` at the end of the block; after an error nothing is left of it.

    Raises MachineError where something is at `dest` already, or the disk refuses: then `doing` says what was not done.
    """
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise MachineError(Problem("is there already; name another folder; nothing was touched", where=str(dest)))
    temporary = dest.absolute().with_name(f".tmp-{dest.absolute().name}-{os.getpid()}")
    with machine_errors(doing, dest):
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            yield temporary
            if dest.is_dir():
                dest.rmdir()
            Disk().rename(temporary, dest.absolute())
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def sweep(directory: Path) -> None:
    """Removes what a killed process left half-written or half-deleted; only for who holds the run's lock."""
    for path in directory.iterdir() if directory.is_dir() else ():
        with contextlib.suppress(OSError):
            if LEFTOVER.match(path.name) and path.is_dir():
                Disk().delete(path)
            elif LEFTOVER_FILE.match(path.name) and path.is_file():
                path.unlink()
