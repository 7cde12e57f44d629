"""Sentence pairs: B follows A or, half the time, comes from another document (BERT, section 3.1) or goes before it (ALBERT, 3.1)."""

from dataclasses import dataclass

import numpy as np

from lmkit.counting import mix
from lmkit.data.documents import Documents
from lmkit.data.order import permutation
from lmkit.data.packing import cut
from lmkit.data.rows import Rows
from lmkit.errors import DataError, Problem

IS_NEXT, RANDOM = 0, 1


@dataclass(frozen=True)
class Chunks:
    """Runs of sentences that fill one row together: sentences first[i]:last[i] of a document.

    `start`, `end`, `document` are per sentence (token addresses and the document's place in Documents); `budget` is the
    text tokens of a row.
    """

    start: np.ndarray
    end: np.ndarray
    document: np.ndarray
    first: np.ndarray
    last: np.ndarray
    budget: int

    def __len__(self) -> int:
        return len(self.first)


def plan_chunks(documents: Documents, budget: int, *, mixed: bool = True) -> Chunks:
    """Fills rows of `budget` tokens with consecutive sentences of one document, from its first on; every sentence is in one chunk.

    A sentence longer than half a row is cut. Raises DataError where there are not two documents, if they are to be `mixed`.
    """
    d = documents
    assert d.cache.sentences is not None, "next_sentence needs a cache that was opened with needs_sentences"
    edges = np.unique(np.concatenate([np.asarray(d.cache.sentences, np.int64), d.begin, d.end]))
    start, end = edges[:-1], edges[1:]
    document = np.searchsorted(d.begin, start, side="right") - 1
    inside = (document >= 0) & (start < d.end[document])
    start, end, document = start[inside], end[inside], document[inside]
    sentence, offset, length = cut(end - start, budget // 2)
    start, document = start[sentence] + offset, document[sentence]
    end = start + length
    reach = np.searchsorted(end, start + budget, side="right")
    reach = np.minimum(reach, np.searchsorted(document, document, side="right"))
    following, firsts, i = reach.tolist(), [], 0
    while i < len(following):
        firsts.append(i)
        i = following[i]
    first = np.array(firsts, np.int64)
    last = reach[first]
    enough = end[last - 1] - start[first] >= 2
    if mixed and len(np.unique(document[first[enough]])) < 2:
        raise DataError(
            Problem(
                f"next_sentence takes sentences of another document, but {d.name} has only one; "
                "set document: blank_line or line, add files, or hold out more",
                "data",
            )
        )
    return Chunks(start, end, document, first[enough], last[enough], budget)


def pair_rows(chunks: Chunks, documents: Documents, seed: int, epoch: int) -> Rows:
    """One row a chunk: A is its sentences up to a random place, B the rest (label 0) or a B of another document (label 1).

    Exactly half of the rows (rounded down) are label 1. They exchange their Bs among those of nearly equal length, so that
    neither length nor beginning nor ending tells the label and an epoch shows nearly every sentence once.
    """
    c, row = chunks, np.arange(len(chunks))
    begin, end, document = c.start[c.first], c.end[c.last - 1], c.document[c.first]
    middle = _middle(c, seed, epoch)
    label = np.where(permutation(seed, epoch, len(c)) < len(c) // 2, RANDOM, IS_NEXT)

    other = row.copy()
    random = np.flatnonzero(label == RANDOM)
    pool = random if len(np.unique(document[random])) > 1 else row
    partner = _foreign(pool, document, end - middle, mix(seed, epoch, 1, row))
    other[random] = partner[random]
    length = np.minimum((end - middle)[other], c.budget - (middle - begin))
    return Rows(
        np.arange(len(c) + 1) * 2,
        np.stack([document, document[other]], 1).ravel(),
        np.stack([begin - documents.begin[document], middle[other] - documents.begin[document[other]]], 1).ravel(),
        np.stack([middle - begin, length], 1).ravel(),
        label,
    )


def order_rows(chunks: Chunks, documents: Documents, seed: int, epoch: int) -> Rows:
    """One row a chunk: its sentences up to a random place and the rest (label 0), or the rest first (label 1): half, rounded down."""
    c = chunks
    begin, middle, end, document = c.start[c.first], _middle(c, seed, epoch), c.end[c.last - 1], c.document[c.first]
    swapped = permutation(seed, epoch, len(c)) < len(c) // 2
    start, length = np.stack([begin, middle], 1) - documents.begin[document][:, None], np.stack([middle - begin, end - middle], 1)
    start[swapped], length[swapped] = start[swapped, ::-1], length[swapped, ::-1]
    return Rows(np.arange(len(c) + 1) * 2, np.repeat(document, 2), start.ravel(), length.ravel(), swapped.astype(np.int64))


def _middle(chunks: Chunks, seed: int, epoch: int) -> np.ndarray:
    """Where each chunk falls into two: between two of its sentences, or in the middle of its only one."""
    c = chunks
    inner, begin, end = c.last - c.first - 1, c.start[c.first], c.end[c.last - 1]
    pick = c.first + np.where(inner > 0, 1 + mix(seed, epoch, 0, np.arange(len(c))) % np.maximum(inner, 1), 0)
    return np.where(inner > 0, c.start[pick], begin + (end - begin) // 2)


def _foreign(pool: np.ndarray, document: np.ndarray, length: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """For each row of `pool` the next one by length (ties in the order of `tie`) that is of another document, cyclically."""
    order = pool[np.lexsort((tie[pool], length[pool]))]
    changes = np.flatnonzero(document[order] != np.roll(document[order], 1))
    following = changes[np.searchsorted(changes, np.arange(len(order)), side="right") % len(changes)]
    partner = np.arange(len(document))
    partner[order] = order[following]
    return partner
