"""Several texts of a record that could go with its first one, as rows that hold all pairs."""

import numpy as np

from lmkit.data.documents import Documents
from lmkit.data.rows import Rows
from lmkit.errors import DataError, Problem
from lmkit.text.template import Template, longest_first


def choice_spans(documents: Documents) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(tokens, begin, end) of the choices of these records, one behind the other, and how many each record has."""
    more = documents.cache.more
    tokens, begins, edges = (np.asarray(more[name]) for name in ("choice_tokens", "choice_begin", "choice_documents"))
    counts = (edges[1:] - edges[:-1])[documents.number]
    chosen = np.repeat(edges[documents.number] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    return tokens, begins[chosen], np.append(begins[1:], len(tokens))[chosen], counts


def choice_rows(documents: Documents, width: int, template: Template) -> Rows:
    """One row a record: span i and a choice, which are spans from the number of records on, again and again.

    Each pair has its share of the row, and the longer of the two is cut first. Raises DataError where that is too little.
    """
    _, begin, end, counts = choice_spans(documents)
    record = np.repeat(np.arange(len(counts)), counts)
    room = (width // counts - template.pair.extra)[record]
    if len(room) and room.min() < 2:
        what = f"{width} is too short for {counts.max()} choices; write {counts.max() * (template.pair.extra + 2)} or more"
        raise DataError(Problem(what, "data.max_length", documents.cache.where(int(documents.number[counts.argmax()]))))
    first, second = longest_first(documents.lengths[record], end - begin, room)
    document = np.stack([record, np.arange(len(record)) + len(counts)], 1).ravel()
    length = np.stack([first, second], 1).ravel()
    offsets = np.concatenate([[0], np.cumsum(2 * counts)])
    return Rows(offsets, document, np.zeros(len(length), np.int64), length, np.arange(len(counts)))
