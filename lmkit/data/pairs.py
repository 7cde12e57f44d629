"""Sentence pairs for next-sentence prediction (BERT, section 3.1): B follows A, or half the time comes from another document."""

from dataclasses import dataclass

import numpy as np

from lmkit.data.documents import Documents
from lmkit.data.order import mix, permutation
from lmkit.data.packing import cut
from lmkit.data.rows import Rows
from lmkit.errors import DataError, Problem

SPECIAL = 3  # bos A eos B eos
IS_NEXT, RANDOM = 0, 1


@dataclass(frozen=True)
class Chunks:
    """Runs of sentences that fill one row together: sentences first[i]:last[i] of a document.

    `start`, `end`, `document` are per sentence (token addresses and the document's place in Documents); `edges` are the
    first sentence of each document, `budget` the text tokens of a row.
    """

    start: np.ndarray
    end: np.ndarray
    document: np.ndarray
    edges: np.ndarray
    first: np.ndarray
    last: np.ndarray
    budget: int

    def __len__(self) -> int:
        return len(self.first)


def plan_chunks(documents: Documents, max_length: int) -> Chunks:
    """Fills rows with consecutive sentences of one document, from its first on; every sentence is in one chunk.

    A sentence longer than half a row is cut. Raises DataError where there are not two documents to mix.
    """
    budget = max_length - SPECIAL
    d = documents
    edges = np.unique(np.concatenate([np.asarray(d.cache.sentences, np.int64), d.begin, d.end]))
    start, end = edges[:-1], edges[1:]
    document = np.searchsorted(d.begin, start, side="right") - 1
    inside = (document >= 0) & (start < d.end[document])
    start, end, document = start[inside], end[inside], document[inside]
    sentence, offset, length = cut(end - start, budget // 2)
    start, document = start[sentence] + offset, document[sentence]
    end = start + length
    if len(np.unique(document)) < 2:
        raise DataError(
            Problem(
                f"next_sentence takes sentences of another document, but {d.name} has only one; "
                "set document: blank_line or line, add files, or hold out more",
                "data",
            )
        )
    edges = np.searchsorted(document, np.arange(len(d) + 1))
    reach = np.minimum(np.searchsorted(end, start + budget, side="right"), edges[document + 1])
    following, firsts, i = reach.tolist(), [], 0
    while i < len(following):
        firsts.append(i)
        i = following[i]
    first = np.array(firsts, np.int64)
    last = reach[first]
    enough = end[last - 1] - start[first] >= 2
    return Chunks(start, end, document, edges, first[enough], last[enough], budget)


def pair_rows(chunks: Chunks, documents: Documents, seed: int, epoch: int) -> Rows:
    """One row a chunk: A is its sentences up to a random place, B the rest (label 0) or as much of another document (label 1).

    Exactly half of the rows (rounded down) are label 1. Both kinds have the same distribution of lengths, and B ends with a
    sentence wherever one fits, so neither length nor ending tells the label.
    """
    c, count = chunks, len(chunks)
    row = np.arange(count)
    begin, end, document = c.start[c.first], c.end[c.last - 1], c.document[c.first]
    inner = c.last - c.first - 1
    place = c.start[c.first + 1 + mix(seed, epoch, 0, row) % np.maximum(inner, 1) * (inner > 0) - (inner == 0)]
    middle = np.where(inner > 0, place, begin + (end - begin) // 2)
    label = (permutation(seed, epoch, count) < count // 2).astype(np.int64)

    own = c.edges[document + 1] - c.edges[document]
    other = mix(seed, epoch, 1, row) % (len(c.start) - own)
    other += np.where(other >= c.edges[document], own, 0)
    other_document = c.document[other]
    early = (
        np.searchsorted(c.start, documents.end[other_document] - (end - middle), side="right") - 1
    )  # so that the document lasts for a whole B
    other = np.maximum(np.minimum(other, early), c.edges[other_document])
    other_begin = c.start[other]
    other_end = _whole_sentences(c, other, end - middle, c.budget - (middle - begin), documents.end[other_document])

    random = label == RANDOM
    b_begin, b_end = np.where(random, other_begin, middle), np.where(random, other_end, end)
    b_document = np.where(random, other_document, document)
    return Rows(
        np.arange(count + 1) * 2,
        np.stack([document, b_document], 1).ravel(),
        np.stack([begin - documents.begin[document], b_begin - documents.begin[b_document]], 1).ravel(),
        np.stack([middle - begin, b_end - b_begin], 1).ravel(),
        label,
    )


def _whole_sentences(c: Chunks, first: np.ndarray, wanted: np.ndarray, room: np.ndarray, document_end: np.ndarray) -> np.ndarray:
    """Where a segment ends that starts with sentence `first`: the sentence end nearest to `wanted` tokens that `room` allows."""
    begin = c.start[first]
    limit = np.minimum(begin + room, document_end)
    stop = np.searchsorted(c.end, begin + wanted, side="right")
    lower = np.minimum(np.where(stop > first, c.end[np.maximum(stop - 1, 0)], begin), limit)
    upper = c.end[np.minimum(stop, len(c.end) - 1)]
    take_upper = (upper <= limit) & (upper > lower) & ((upper - begin - wanted < wanted - (lower - begin)) | (lower == begin))
    nearest = np.where(take_upper, upper, lower)
    return np.where(nearest > begin, nearest, np.minimum(begin + wanted, limit))
