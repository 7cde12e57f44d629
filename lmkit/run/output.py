"""Answers as lines of JSON, in a file that has its name only when it is whole, or on standard output."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from lmkit.data.document import Document
from lmkit.data.roles import near
from lmkit.errors import DataError, MachineError, Problem, SpecError

Row = Mapping[str, Any]


def texts_of(document: Document) -> dict[str, Any]:
    """What of a document stands before its answers."""
    return {"text": document.text} | ({} if document.pair is None else {"text_pair": document.pair})


def kept_fields(document: Document, keep: Sequence[str] | Literal["all"]) -> dict[str, Any]:
    """The fields of a document's record that go with its answers: these, all, or if none are named its `id`.

    Raises DataError, with its place, where one is missing.
    """
    record = document.record or ({"id": document.id} if document.id else {})
    if keep == "all":
        return dict(record)
    for name in keep:
        if name not in record:
            found = ", ".join(map(repr, list(record)[:12])) or "none"
            raise DataError(Problem(f"field is missing; the record has {found}{near(name, record)}", name, document.where))
    return {name: record[name] for name in keep or ("id",) if name in record}


def joined(kept: Row, answers: Row, where: str) -> dict[str, Any]:
    """Both in one row. Raises DataError where a field is called as an answer is, and says something else."""
    for name in kept.keys() & answers.keys():
        if kept[name] != answers[name]:
            raise DataError(Problem("is a field to keep, and the name of an answer; name the others with --keep", name, where))
    return {**kept, **answers}


def json_line(row: Row) -> str:
    """One object; what JSON has no words for, such as dates of a table, as text."""
    return json.dumps(row, ensure_ascii=False, default=str)


def require_writable(path: Path, read: Path | None, flag: str) -> None:
    """Raises MachineError where no file of this name can be, SpecError where it is the one that is read."""
    if read is not None and path.exists() and read.exists() and path.samefile(read):
        raise SpecError(Problem(f"{path} is the file that is read, which would be lost; name another", flag, "command line"))
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise MachineError(Problem("cannot be written: its folder does not exist, or it is a folder itself", where=str(path)))


@contextmanager
def whole_file(path: Path) -> Iterator[Callable[[Row], object]]:
    """A function that writes a row; the file appears behind the block, and never where that raises. Raises MachineError."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(part, "w", encoding="utf-8") as file:
            yield lambda row: file.write(json_line(row) + "\n")
        os.replace(part, path)
    except OSError as error:
        raise MachineError(Problem(f"cannot be written: {error.strerror}", where=str(path))) from None
    finally:
        part.unlink(missing_ok=True)
