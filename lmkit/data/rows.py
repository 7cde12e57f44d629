"""Rows as flat arrays: each is a few pieces, and a piece is (document, start, length)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    """Row r owns pieces offsets[r]:offsets[r + 1]; `mark` is what the layout says of a row.
    Of sentence pairs that is their label, of records the number of the record, else -1.

    All int64. `document` indexes the span table of a Corpus, `start` counts tokens from that span's begin.
    """

    offsets: np.ndarray
    document: np.ndarray
    start: np.ndarray
    length: np.ndarray
    mark: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def pieces(self) -> np.ndarray:
        """Pieces in each row [R]."""
        return np.diff(self.offsets)

    @property
    def opens(self) -> np.ndarray:
        """bool: the pieces that do not go on with the document of the piece before them in their row."""
        opens = np.ones(len(self.document), bool)
        opens[1:] = self.document[1:] != self.document[:-1]
        opens[self.offsets[:-1][self.pieces > 0]] = True
        return opens

    def tokens(self) -> np.ndarray:
        """Text tokens in each row [R], special tokens not counted."""
        total = np.concatenate([[0], np.cumsum(self.length)])
        return total[self.offsets[1:]] - total[self.offsets[:-1]]

    def take(self, index: np.ndarray) -> "Rows":
        """The rows of `index`, in its order."""
        first, counts = self.offsets[index], self.offsets[np.add(index, 1)] - self.offsets[index]
        offsets = np.zeros(len(index) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        if len(self.document) == len(self):
            where = first
        else:
            where = np.repeat(first - offsets[:-1], counts)
            where += np.arange(len(where))
        return Rows(offsets, self.document[where], self.start[where], self.length[where], self.mark[index])


def make_rows(row: np.ndarray, document: np.ndarray, start: np.ndarray, length: np.ndarray, count: int) -> Rows:
    """Rows from pieces that each name their row; the pieces come sorted by row."""
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=count), out=offsets[1:])
    return Rows(offsets, document, start, length, np.full(count, -1, np.int64))


def join_rows(parts: Sequence[Rows]) -> Rows:
    """All rows of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    ends = np.cumsum([0] + [len(part.document) for part in parts])
    offsets = [part.offsets[:-1] + end for part, end in zip(parts, ends, strict=False)]
    return Rows(
        np.concatenate([*offsets, ends[-1:]]),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("document", "start", "length", "mark")),
    )
