"""MANIFEST.json: what a checkpoint consists of, with a sha256 for every tensor, every file and for itself."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

from lmkit.checkpoints.files import Written
from lmkit.errors import CheckpointError, MachineError, Problem

FORMAT = 1
NAME = "MANIFEST.json"
SHOWN = 3  # names of a kind


class NewerFormat(CheckpointError):
    """Written by a later lmkit: nothing is wrong with it, so it is neither skipped nor set aside."""


@dataclass(frozen=True)
class Entry:
    """One tensor: the file it is in, its shape, numpy dtype name and the sha256 of its bytes."""

    file: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """One checkpoint. `facts` is whatever the run wants to be able to compare later (hashes, versions, decisions)."""

    step: int
    files: dict[str, Written]
    model: dict[str, Entry]
    optimizer: dict[str, Entry]
    facts: dict[str, Any]

    def model_files(self) -> set[str]:
        """The files that hold the model alone."""
        return {entry.file for entry in self.model.values()}

    def dump(self) -> bytes:
        """The file's bytes; the last key is the sha256 of the text without it."""
        body = {"format": FORMAT} | asdict(self)
        return _text(body | {"sha256": hashlib.sha256(_text(body)).hexdigest()})


def _text(body: Mapping[str, Any]) -> bytes:
    return (json.dumps(body, indent=1, sort_keys=True) + "\n").encode()


def read_manifest(checkpoint: Path) -> Manifest:
    """Reads and proves the manifest of one checkpoint directory.

    Raises CheckpointError when it is absent or damaged, NewerFormat when a later lmkit wrote it, MachineError
    when the disk does not let it be read.
    """
    path = checkpoint / NAME
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(Problem(f"{NAME} is absent: no complete checkpoint", where=str(checkpoint))) from None
    except OSError as error:
        raise MachineError(Problem(f"cannot be read: {error.strerror}", where=str(path))) from error
    try:
        body = json.loads(raw)
        if not _proves_itself(body, raw):
            raise ValueError
        if body["format"] != FORMAT:
            what = f"written in checkpoint format {body['format']}; this lmkit reads {FORMAT}: upgrade it"
            raise NewerFormat(Problem(what, where=str(path)))
        for name in body["files"]:
            if PurePath(name).name != name:
                raise CheckpointError(Problem(f"names {name[:80]!r}, which is no file of this folder", where=str(path)))
        return Manifest(
            step=body["step"],
            files={name: Written(**written) for name, written in body["files"].items()},
            model=_entries(body["model"]),
            optimizer=_entries(body["optimizer"]),
            facts=body["facts"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(Problem("damaged: it does not have the sha256 that it was written with", where=str(path))) from None


def _entries(group: dict[str, dict[str, Any]]) -> dict[str, Entry]:
    return {name: Entry(**(entry | {"shape": tuple(entry["shape"])})) for name, entry in group.items()}


def _proves_itself(body: Any, raw: bytes) -> bool:
    written = body.pop("sha256", None)
    return hashlib.sha256(_text(body)).hexdigest() == written and _text(body | {"sha256": written}) == raw


@dataclass(frozen=True)
class Difference:
    """How the tensors of a file differ from those that a model has."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    misshaped: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.misshaped)

    def __str__(self) -> str:
        """The first tensors of each kind, and how many more there are, in one line."""
        kinds = {"missing": self.missing, "not in the model": self.extra, "of another shape": self.misshaped}
        said = {what: [*names[:SHOWN], *([f"{len(names) - SHOWN} more"] if len(names) > SHOWN else [])] for what, names in kinds.items()}
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in said.items() if names)


def compare(found: Mapping[str, Any], expected: Mapping[str, Any], *, dtypes: bool = True) -> Difference:
    """Compares names, shapes and, unless told otherwise, `dtypes`; both map names to anything with `.shape` and `.dtype`."""
    misshaped = []
    for name in sorted(found.keys() & expected.keys()):
        have, want = ((tuple(t.shape), str(t.dtype) if dtypes else "") for t in (found[name], expected[name]))
        if have != want:
            same_type = have[1] == want[1]
            file, model = (list(shape) if same_type else f"{list(shape)} {dtype}" for shape, dtype in (have, want))
            misshaped.append(f"{name} is {file} in the checkpoint and {model} in the model")
    return Difference(tuple(sorted(expected.keys() - found.keys())), tuple(sorted(found.keys() - expected.keys())), tuple(misshaped))


def require(found: Mapping[str, Any], expected: Mapping[str, Any], where: Path | str, *, dtypes: bool = True) -> None:
    """Raises CheckpointError naming the tensors that are missing, too many or of another shape or, of `dtypes`, dtype."""
    difference = compare(found, expected, dtypes=dtypes)
    if difference:
        raise CheckpointError(Problem(str(difference), where=str(where)))
