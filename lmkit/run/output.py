"""Answers as lines of JSON, in a file that has its name only when it is whole, or on standard output."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmkit.data.document import Document
from lmkit.errors import MachineError, Problem

Row = Mapping[str, Any]


def texts_of(document: Document) -> dict[str, Any]:
    """What of a document stands before its answers."""
    return {"text": document.text} | ({} if document.pair is None else {"text_pair": document.pair})


def require_writable(path: Path) -> None:
    """Raises MachineError where no file of this name can be."""
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise MachineError(Problem("cannot be written: its folder does not exist, or it is a folder itself", where=str(path)))


@contextmanager
def whole_file(path: Path) -> Iterator[Callable[[Row], None]]:
    """A function that writes a row; the file appears behind the block, and never where that raises. Raises MachineError."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(part, "w", encoding="utf-8") as file:
            yield lambda row: _write(file.write, row)
        os.replace(part, path)
    except OSError as error:
        raise MachineError(Problem(f"cannot be written: {error.strerror}", where=str(path))) from None
    finally:
        part.unlink(missing_ok=True)


def _write(write: Callable[[str], object], row: Row) -> None:
    write(json.dumps(row, ensure_ascii=False) + "\n")
