"""From what a user calls a model (a run, a folder of checkpoints, one checkpoint) to the weights in it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from lmkit.checkpoints.manifest import NAME, Entry, NewerFormat, read_manifest
from lmkit.checkpoints.own import Checkpoint, Say, name_of, read, silent, steps
from lmkit.errors import CheckpointError, Problem

T = TypeVar("T")

FOREIGN = {".pt", ".pth", ".bin", ".pkl", ".ckpt", ".h5", ".hdf5", ".keras", ".npz", ".npy"}


def candidates(path: Path) -> list[Path]:
    """The checkpoints that `path` may mean, the preferred one first: one checkpoint, or a run's best and then its newest.

    Raises CheckpointError saying what is there instead; files that may run code when loaded are refused.
    """
    if path.suffix in FOREIGN and not path.is_dir():
        what = f"{path.suffix} files are not loaded: they may run code; convert them to safetensors first"
        raise CheckpointError(Problem(what, where=str(path)))
    if (path / NAME).is_file():
        return [path]
    found = [d / name_of(step) for d in (path / "best", path / "checkpoints", path) for step in reversed(steps(d))]
    if found:
        return found
    if path.exists():
        raise CheckpointError(Problem("has no checkpoint in it (looked for best/, checkpoints/ and step-*)", where=str(path)))
    near = sorted(p.name for p in path.parent.iterdir() if p.is_dir())[:10] if path.parent.is_dir() else []
    raise CheckpointError(Problem("does not exist" + (f"; beside it are {', '.join(near)}" if near else ""), where=str(path)))


def read_model(path: Path, *, say: Say = silent) -> Checkpoint:
    """The model alone (no optimizer, no state) from whatever `path` means, verified; nothing on disk is changed.

    A damaged checkpoint of a run is named through `say` and the next is tried; a checkpoint named directly has no substitute.
    Raises CheckpointError.
    """
    return _first(path, lambda candidate: read(candidate, model_only=True), say)


def read_entries(path: Path) -> Mapping[str, Entry]:
    """What that model's tensors are, from the manifest alone. Raises CheckpointError."""
    return _first(path, lambda candidate: read_manifest(candidate).model, silent)


def _first(path: Path, read: Callable[[Path], T], say: Say) -> T:
    problems: list[Problem] = []
    for candidate in candidates(path):
        try:
            return read(candidate)
        except NewerFormat:
            raise
        except CheckpointError as error:
            problems += error.problems
            if candidate != path:
                say(f"{error}; trying another checkpoint of the run")
    raise CheckpointError(*problems)
