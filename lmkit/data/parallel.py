"""Pairs of plain text files that are aligned by line: line n of one says what line n of the other does."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from lmkit.data.document import Document
from lmkit.data.files import Stop, lines
from lmkit.errors import DataError, Problem


def read_parallel(
    texts: list[Path], targets: list[Path], *, errors: Literal["fail", "replace"], longest: int, stop: Stop
) -> Iterator[Document]:
    """A document a line, blank ones too, of each pair of files in turn; raises DataError unless all have as many as their partners."""
    if len(texts) != len(targets):
        what = f"{len(texts)} files of texts and {len(targets)} of targets; each needs its partner, in the same order"
        raise DataError(Problem(what, where=str(texts[0])))
    for text, target in zip(texts, targets, strict=True):
        pairs = zip_longest(*(lines(path, errors=errors, longest=longest, stop=stop) for path in (text, target)))
        count = [0, 0]
        for first, second in pairs:
            count = [count[0] + (first is not None), count[1] + (second is not None)]
            if count[0] == count[1]:
                number, line = first
                yield Document(line.removesuffix("\n"), target=(second[1].removesuffix("\n"),), file=str(text), line=number)
        if count[0] != count[1]:
            raise DataError(Problem(f"has {count[0]:,} lines, and {target}, which it goes with, has {count[1]:,}", where=str(text)))
