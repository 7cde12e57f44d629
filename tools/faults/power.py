"""Power cuts: what was not synced when the power went may be on the disk or not; from every such disk the run goes on.

The calls of a training in numpy are recorded and carried out once more on a file system of dictionaries, which knows of every file
and folder what it holds and what it held at its last fsync. After each call the disks that could be left are laid out anew.
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

from lmkit.checkpoints import own
from lmkit.errors import LmkitError
from tools.faults import arithmetic
from tools.faults.prints import differences, fingerprint, saved_to
from tools.faults.table import Lab, Row

STEPS = 6
CALLS = ("open", "close", "write", "lseek", "ftruncate", "fsync", "rename", "link", "mkdir", "unlink", "rmdir")
KEPT = ("names and data", "names", "data", "neither")  # what of the unsynced is on the disk


@dataclass(eq=False)
class File:
    """Contents now, and at the last fsync."""

    data: bytes = b""
    synced: bytes = b""


@dataclass(eq=False)
class Folder:
    """Entries now, and at the last fsync."""

    names: "dict[str, Node]" = field(default_factory=dict)
    synced: "dict[str, Node]" = field(default_factory=dict)


@dataclass
class Opened:
    """What a descriptor is of, and the place in it."""

    node: "Node"
    at: int = 0
    appends: bool = False


Node: TypeAlias = File | Folder
Image = dict[str, bytes | None]  # what a disk holds, by path; None is a folder


def rows(lab: Lab) -> Iterator[Row]:
    """Every disk that a power cut during a run may leave, or so many of them as are asked for."""
    folder = lab.folder("0")
    power = Power(folder / "recorded")
    power.root.mkdir()
    with power.recorded():
        arithmetic.train(power.root / "run", STEPS)
    assert power.left(KEPT[0]) == _read(power.root), "a call was not recorded"
    expected = fingerprint(power.root / "run")
    images = [power.cuts[i] for i in sorted(lab.chance.sample(range(len(power.cuts)), min(lab.many(50, 10**6), len(power.cuts))))]
    wrong = [
        f"after {cut.call}, {cut.kept} kept: {found}" for i, cut in enumerate(images) if (found := _wrong(folder / str(i), cut, expected))
    ]
    for line in wrong:
        lab.say(line)
    result = f"{len(images) - len(wrong)}/{len(images)} of {len(power.cuts)} disks: what was saved is there, bit-identical afterwards"
    result += "".join(f"; {line}" for line in wrong[:1])
    yield Row("power cut", f"{power.calls} recorded calls, unsynced names and data kept or dropped", result, "all", not wrong)


@dataclass(frozen=True)
class Cut:
    """A disk as a power cut leaves it, and the step of the newest checkpoint that was complete before."""

    call: str
    kept: str
    image: Image
    saved: int


class Power:
    """A folder whose calls are recorded, and all the disks that they could leave."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls, self.cuts = root, 0, list[Cut]()
        self._tree, self._saved = Folder(), 0
        self._one_at_a_time = threading.RLock()  # the checkpoints are written in a thread
        self._files: dict[int, Opened] = {}  # by descriptor
        self._seen: set[tuple[int, frozenset]] = set()

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Within the block, what happens below the folder is recorded."""
        with ExitStack() as stack:
            for name in CALLS:
                stack.enter_context(mock.patch(f"os.{name}", self._watched(getattr(os, name), getattr(self, f"_{name}"))))
            stack.enter_context(mock.patch("lmkit.checkpoints.own.save", self._counted(own.save)))
            yield

    def left(self, kept: str) -> Image:
        """The disk as it is when that part of what is unsynced reaches it."""
        return dict(_layout(self._tree, kept, ""))

    def _watched(self, call: Callable[..., Any], repeat: Callable[..., None]) -> Callable[..., Any]:
        def watched(first: Any, *more: Any, **named: Any) -> Any:
            with self._one_at_a_time:
                is_ours = first in self._files if isinstance(first, int) else Path(first).is_relative_to(self.root)
                result = call(first, *more, **named)
                if is_ours:
                    repeat(result, first, *more)
                    self._cut(f"{call.__name__} {first}")
                return result

        return watched

    def _counted(self, save: Callable[..., Path]) -> Callable[..., Path]:
        def counted(directory: Path, step: int, **more: Any) -> Path:
            path = save(directory, step, **more)
            with self._one_at_a_time:
                self._saved = step
                self._cut(f"the save of step {step}")
            return path

        return counted

    def _cut(self, call: str) -> None:
        self.calls += 1
        for kept in KEPT:
            image = self.left(kept)
            mark = self._saved, frozenset(image.items())
            if mark not in self._seen:
                self._seen.add(mark)
                self.cuts.append(Cut(call.replace(f"{self.root}/", ""), kept, image, self._saved))

    def _at(self, path: Any) -> tuple[dict[str, Node], str]:
        """The entries that the path is among, and its name there."""
        *above, name = Path(path).relative_to(self.root).parts
        folder = self._tree
        for part in above:
            found = folder.names[part]
            assert isinstance(found, Folder)
            folder = found
        return folder.names, name

    # Each call once more, given its result and its arguments.

    def _open(self, result: int, path: Any, flags: int, *mode: int) -> None:
        if Path(path) == self.root:
            self._files[result] = Opened(self._tree)
            return
        names, name = self._at(path)
        node = names.setdefault(name, File())
        if flags & os.O_TRUNC and isinstance(node, File):
            node.data = b""
        self._files[result] = Opened(node, appends=bool(flags & os.O_APPEND))

    def _close(self, result: None, descriptor: int) -> None:
        del self._files[descriptor]

    def _write(self, result: int, descriptor: int, data: Any) -> None:
        opened = self._files[descriptor]
        file, written = opened.node, bytes(data)[:result]
        assert isinstance(file, File)
        at = len(file.data) if opened.appends else opened.at
        file.data = file.data[:at] + written + file.data[at + len(written) :]
        opened.at = at + len(written)

    def _lseek(self, result: int, descriptor: int, *where: int) -> None:
        self._files[descriptor].at = result

    def _ftruncate(self, result: None, descriptor: int, size: int) -> None:
        file = self._files[descriptor].node
        assert isinstance(file, File)
        file.data = file.data[:size].ljust(size, b"\0")

    def _fsync(self, result: None, descriptor: int) -> None:
        match self._files[descriptor].node:
            case File() as file:
                file.synced = file.data
            case Folder() as folder:
                folder.synced = dict(folder.names)

    def _rename(self, result: None, old: Any, new: Any) -> None:
        (names, name), (others, other) = self._at(old), self._at(new)
        others[other] = names.pop(name)

    def _link(self, result: None, old: Any, new: Any) -> None:
        (names, name), (others, other) = self._at(old), self._at(new)
        others[other] = names[name]

    def _mkdir(self, result: None, path: Any, *mode: int) -> None:
        names, name = self._at(path)
        names[name] = Folder()

    def _unlink(self, result: None, path: Any) -> None:
        names, name = self._at(path)
        del names[name]

    _rmdir = _unlink


def _layout(folder: Folder, kept: str, above: str) -> Iterator[tuple[str, bytes | None]]:
    for name, node in (folder.names if "names" in kept else folder.synced).items():
        if isinstance(node, Folder):
            yield above + name, None
            yield from _layout(node, kept, f"{above}{name}/")
        else:
            yield above + name, node.data if "data" in kept else node.synced


def _read(root: Path) -> Image:
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")}


def _wrong(root: Path, cut: Cut, expected: dict[str, Any]) -> str:
    """What is wrong with the run that goes on from such a disk."""
    root.mkdir()
    for name, data in cut.image.items():
        if data is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(data)
    run = root / "run"
    try:
        if (found := saved_to(run)) < cut.saved:
            return f"step {cut.saved} was saved, there is {found}"
        with mock.patch("os.fsync"):
            arithmetic.train(run, STEPS)
        return ", ".join(differences(fingerprint(run), expected)[:3])
    except (LmkitError, AssertionError) as error:
        return str(error)
    finally:
        shutil.rmtree(root)
