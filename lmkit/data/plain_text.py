"""Documents of plain text files: a file, a line, or a paragraph each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lmkit.data.document import Document
from lmkit.data.files import Stop, each_line, sound
from lmkit.errors import DataError, Problem

PART = 2**22  # characters of one file that pass at a time


def read_text(
    path: Path,
    *,
    document: Literal["file", "line", "blank_line"],
    errors: Literal["fail", "replace"],
    longest: int,
    split: bool,
    stop: Stop,
) -> Iterator[Document | DataError]:
    """Line breaks at the end of a line or paragraph document are not part of it; a `file` document is the whole file.

    A line that cannot be read is an error in its document's place, where documents are lines; else it is raised.
    """
    numbered = each_line(path, errors=errors, longest=longest, split=split, stop=stop)
    whole = ((number, sound(text)) for number, text in numbered)
    match document:
        case "file":
            yield from _whole(path, whole)
        case "line":
            for number, text in numbered:
                yield text if isinstance(text, DataError) else Document(text.removesuffix("\n"), file=str(path), line=number)
        case "blank_line":
            yield from _paragraphs(path, whole, longest, split)


def _whole(path: Path, numbered: Iterator[tuple[int, str]]) -> Iterator[Document]:
    """Parts end before white space, where tokens end too."""
    held: list[str] = []
    size, first = 0, 1
    for number, text in numbered:
        if size > PART and not text.isspace():
            joined = "".join(held)
            body = joined.rstrip()
            if body:
                yield Document(body, file=str(path), line=first, more=True)
            held, size, first = [joined[len(body) :]], len(joined) - len(body), number
        held.append(text)
        size += len(text)
    yield Document("".join(held), file=str(path), line=first)


def _paragraphs(path: Path, numbered: Iterator[tuple[int, str]], longest: int, split: bool) -> Iterator[Document]:
    held: list[str] = []
    first, size = 1, 0
    for number, text in numbered:
        if text.isspace():
            if held:
                yield Document("".join(held).removesuffix("\n"), file=str(path), line=first)
                held, size = [], 0
            continue
        size += len(text.encode())
        if held and size > longest:
            if not split:
                what = f"this paragraph is longer than max_record_bytes = {longest:,}; raise it, or set long_records: split"
                raise DataError(Problem(what, where=f"{path}:{first}"))
            yield Document("".join(held).removesuffix("\n"), file=str(path), line=first)
            held, size = [], len(text.encode())
        if not held:
            first = number
        held.append(text)
    if held:
        yield Document("".join(held).removesuffix("\n"), file=str(path), line=first)
