"""Sentences of CoNLL files (CoNLL-2003 and its kin): a word a line, its tag in another column, a blank line behind each sentence."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from lmkit.data.document import Document
from lmkit.data.files import Stop, lines, tried
from lmkit.errors import DataError, Problem
from lmkit.text.joining import join_words

BLANKS = re.compile("[ \t]+")
CONTROL = re.compile("[\x01-\x08\x0b-\x1f\x7f]")  # stands in no word: a damaged line end would make one sentence of two
START = "-DOCSTART-"

Lines = list[tuple[int, str]]  # of one sentence, with their numbers in the file


def read_conll(
    path: Path, *, text: int, tags: int | None, errors: Literal["fail", "replace"], longest: int, stop: Stop
) -> Iterator[Document | DataError]:
    """One document a sentence: its words are column `text`, their tags column `tags` (from 0; -1 is the last).

    Columns end at a tab where the first line has one, else at blanks, and every line has as many as the first. A line that begins
    with # and has another number of columns is a comment; lines of -DOCSTART- say nothing. A sentence that cannot be read is an error
    in its place, if its lines are UTF-8.
    """
    width, tabbed = 0, False
    for block in sentences(path, lines(path, errors=errors, longest=longest, stop=stop), longest):
        rows = [(number, line) for number, line in block if split(line, "\t" in line)[0] != START]
        if not width:
            first = next(((number, line) for number, line in rows if not line.startswith("#")), None)
            if first is None:
                continue
            tabbed = "\t" in first[1]
            width = len(split(first[1], tabbed))
            _require_columns((text, tags), width, f"{path}:{first[0]}")
        document = tried(_sentence, rows, tabbed, width, text, tags, path)
        if document is not None:
            yield document
    if not width:
        raise DataError(Problem("holds no sentences", where=str(path)))


def _sentence(rows: Lines, tabbed: bool, width: int, text: int, tags: int | None, path: Path) -> Document | None:
    """The document of some lines, None where all are comments."""
    found = [(number, _fields(line, tabbed, width, f"{path}:{number}")) for number, line in rows]
    words = [(number, fields) for number, fields in found if fields]
    if not words:
        return None
    named = None if tags is None else [fields[tags] for _, fields in words]
    return sentence([(number, fields[text]) for number, fields in words], named, path)


def sentences(path: Path, numbered: Iterable[tuple[int, str]], longest: int) -> Iterator[Lines]:
    """The lines between blank lines."""
    held: Lines = []
    size = 0
    for number, line in numbered:
        if line.isspace():
            if held:
                yield held
            held, size = [], 0
            continue
        line = line.rstrip("\n")
        if odd := CONTROL.search(line):
            raise DataError(Problem(f"a control character (U+{ord(odd.group()):04X}); is the file damaged?", where=f"{path}:{number}"))
        held.append((number, line))
        size += len(line.encode())
        if size > longest:
            what = f"this sentence is longer than max_record_bytes = {longest:,}; raise it, or end sentences with a blank line"
            raise DataError(Problem(what, where=f"{path}:{held[0][0]}"))
    if held:
        yield held


def sentence(words: Sequence[tuple[int, str]], tags: Sequence[str] | None, path: Path, glued: Sequence[bool] = ()) -> Document:
    """The document of numbered words; raises DataError, with its line, for a word or tag of nothing."""
    for what, values in (("word", [word for _, word in words]), ("tag", tags or ())):
        for (number, _), value in zip(words, values, strict=False):
            if not value.strip():
                raise DataError(Problem(f"the {what} is empty", where=f"{path}:{number}"))
    text, spans = join_words([word for _, word in words], glued)
    lines = tuple(number for number, _ in words)
    return Document(text, words=spans, lines=lines, tags=None if tags is None else tuple(tags), file=str(path), line=lines[0])


def split(line: str, tabbed: bool) -> list[str]:
    return line.split("\t") if tabbed else BLANKS.split(line.strip(" \t"))


def _fields(line: str, tabbed: bool, width: int, where: str) -> list[str]:
    """The columns of a word, none of a comment."""
    fields = split(line, tabbed)
    if len(fields) == width:
        return fields
    if line.startswith("#"):
        return []
    what = f"{len(fields)} column{'s' if len(fields) > 1 else ''} where the first line has {width}"
    if tabbed and "\t" not in line and len(split(line, False)) == width:
        raise DataError(Problem(f"{what}; columns of this file end at tabs, here stand blanks", where=where))
    raise DataError(Problem(f"{what}; {'a tag is missing' if len(fields) < width else 'remove what is too much'}", where=where))


def _require_columns(columns: Sequence[int | None], width: int, where: str) -> None:
    for column in columns:
        if column is not None and not -width <= column < width:
            raise DataError(Problem(f"there is no column {column}; a line has {width}, 0 to {width - 1} (-1 is the last)", where=where))
    if len({column % width for column in columns if column is not None}) < len([column for column in columns if column is not None]):
        what = "word and tag are the same column"
        raise DataError(Problem(f"{what}; lines have only one, the tags are missing" if width == 1 else what, where=where))
