"""Sentences of CoNLL-U files (universaldependencies.org/format.html): ten columns a word, blanks between words as they were written."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lmkit.data.conll import Lines, sentence, sentences
from lmkit.data.document import Document
from lmkit.data.files import Stop, lines, tried
from lmkit.errors import DataError, Problem

FIELDS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
WORD, RANGE, EMPTY = re.compile(r"[1-9][0-9]*"), re.compile(r"([1-9][0-9]*)-([1-9][0-9]*)"), re.compile(r"[0-9]+\.[1-9][0-9]*")
FORM, FEATS, MISC = map(FIELDS.index, ("FORM", "FEATS", "MISC"))
NOT_GIVEN = "_"


def read_conllu(
    path: Path, *, text: str, tags: str | None, errors: Literal["fail", "replace"], longest: int, stop: Stop
) -> Iterator[Document | DataError]:
    """One document a sentence, of its words: fields `text` and `tags` of lines 1, 2, 3, ...

    Tags belong to words, so a multiword token (1-2) gives its words, which stand without a blank between them where they spell it,
    and an empty node (1.1) stands nowhere in the text. SpaceAfter=No leaves the blank out. A sentence that cannot be read is an
    error in its place.
    """
    word, tag = FIELDS.index(text), None if tags is None else FIELDS.index(tags)
    found = False
    for block in sentences(path, lines(path, errors=errors, longest=longest, stop=stop), longest):
        document = tried(_sentence, block, word, tag, path)
        if document is not None:
            found = True
            yield document
    if not found:
        raise DataError(Problem("holds no sentences", where=str(path)))


def _sentence(block: Lines, word: int, tag: int | None, path: Path) -> Document | None:
    """The document of some lines, None where none of them has a word."""
    rows, glued = _words(block, path)
    if not rows:
        return None
    for number, fields in rows:
        if tag is not None and fields[tag] == NOT_GIVEN and tag not in (FEATS, MISC):
            what = f'"{fields[FORM]}" has no {FIELDS[tag]}, only _; choose another column for tags'
            raise DataError(Problem(what, where=f"{path}:{number}"))
    tags = None if tag is None else [fields[tag] for _, fields in rows]
    return sentence([(number, fields[word]) for number, fields in rows], tags, path, glued)


def _words(block: Lines, path: Path) -> tuple[list[tuple[int, list[str]]], list[bool]]:
    """The numbered fields of each word, and whether the next one follows without a blank."""
    words: list[tuple[int, list[str]]] = []
    glued: list[bool] = []
    ranges: list[tuple[int, int, list[str]]] = []
    for number, line in block:
        if line.startswith("#"):
            continue
        where = f"{path}:{number}"
        fields = line.split("\t")
        if len(fields) != len(FIELDS):
            hint = "; they end at tabs, here stand blanks" if "\t" not in line else ""
            raise DataError(Problem(f"{len(fields)} column{'s' * (len(fields) > 1)}, CoNLL-U has {len(FIELDS)}{hint}", where=where))
        if WORD.fullmatch(fields[0]) and int(fields[0]) == len(words) + 1:
            words.append((number, fields))
            glued.append(_glued(fields))
        elif spread := RANGE.fullmatch(fields[0]):
            first, last = map(int, spread.groups())
            if first != len(words) + 1 or last <= first:
                raise DataError(Problem(f"the range {fields[0]} does not begin at the next word, {len(words) + 1}", "ID", where))
            ranges.append((first - 1, last, fields))
        elif not EMPTY.fullmatch(fields[0]):
            raise DataError(Problem(f'expected {len(words) + 1}, got "{fields[0][:20]}"', "ID", where))
    for start, end, fields in ranges:
        if end > len(words):
            raise DataError(Problem(f"the range {fields[0]} ends behind the last word, {len(words)}", "ID", f"{path}:{block[0][0]}"))
        spelled = "".join(word[FORM] for _, word in words[start:end]) == fields[FORM]
        glued[start:end] = [spelled] * (end - start - 1) + [_glued(fields)]
    return words, glued


def _glued(fields: list[str]) -> bool:
    return "SpaceAfter=No" in fields[MISC].split("|")
