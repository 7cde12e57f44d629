"""What the records of several sources say, in one numbering."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from lmkit.data.annotations import NONE
from lmkit.data.cache import NUMBERED
from lmkit.data.documents import Documents
from lmkit.errors import DataError, Problem
from lmkit.tasks.rows import Examples

COLUMNS = {
    "label": ("labels",),
    "labels": ("sets",),
    "choices": ("choice_begin",),
    "value": ("values",),
    "tags": ("tags",),
    "answers": ("answer_first", "answer_last"),
    "chosen": ("counted",),
    "rejected": (),
    "target": (),
    "text_pair": (),
}
# Roles whose tokens are laid in rows.
TEXTS = {"target": ("target_tokens",), "text_pair": ("pair_tokens",), "rejected": ("pair_tokens", "pair_counted")}
TOKENS = ("tags", "counted")  # have an entry for each token, not for each record
# Columns with any number of entries for a record, and where those of each record begin.
EDGES = {"sets": "set_documents", "choice_begin": "choice_documents"}
EACH = np.ones(1, np.int8)  # stands for a column of ones


def examples(
    documents: Sequence[Documents], roles: Sequence[str], key: str, *, heeded: Sequence[str] = ()
) -> tuple[Examples, dict[str, list[np.ndarray]]]:
    """The columns of these roles over all sources, and those that belong to tokens, one array a source.

    Columns of tokens that are only `heeded` are there if any source has them, and 1 where one has not.

    Raises DataError, with the `key` of the task, where a source has no field for a role.
    """
    values: dict[str, np.ndarray] = {}
    tokens: dict[str, list[np.ndarray]] = {}
    names: dict[str, dict[str, str]] = {}
    counts: dict[str, np.ndarray] = {}
    for role in roles:
        for source in documents:
            if not {*COLUMNS[role], *TEXTS.get(role, ())} <= source.cache.more.keys():
                raise DataError(Problem(f"source {source.name} has no {role}; name its field in columns: {{{role}: ...}}", key))
        for column in COLUMNS[role]:
            found = [np.asarray(source.cache.more[column]) for source in documents]
            if column in NUMBERED:
                names[column], found = _one_numbering(documents, column, found)
            if column in TOKENS:
                tokens[column] = found
                entries = [each[_inside(source)] for each, source in zip(found, documents, strict=True)] if column in NUMBERED else []
            elif column in EDGES:
                entries, values[EDGES[column]] = _several(documents, EDGES[column], found)
                values[column] = np.concatenate(entries)
            else:
                entries = [each[source.number] for each, source in zip(found, documents, strict=True)]
                values[column] = np.concatenate(entries)
            if column in NUMBERED:
                counts[column] = sum(np.bincount(each[each >= 0], minlength=len(names[column])) for each in entries)  # type: ignore[assignment]
    for column in heeded:
        if any(column in source.cache.more for source in documents):
            tokens[column] = [np.asarray(source.cache.more.get(column, EACH)) for source in documents]
    return Examples(values, names, counts, partial(_where, documents)), tokens


def _where(documents: Sequence[Documents], record: int) -> str:
    """The place of a record in its file, by its number over all sources."""
    for source in documents:
        if record < len(source):
            return source.cache.where(int(source.number[record]))
        record -= len(source)
    raise IndexError(record)


def _inside(source: Documents) -> np.ndarray:
    """bool: which tokens of the cache belong to these documents."""
    edges = np.zeros(len(source.cache.tokens) + 1, np.int32)
    np.add.at(edges, source.begin, 1)
    np.add.at(edges, source.end, -1)
    return np.cumsum(edges[:-1]) > 0


def _several(documents: Sequence[Documents], edges: str, found: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """The entries of the sources' records alone, and where those of each record begin, and the last end."""
    entries, counts = [], [np.zeros(1, np.int64)]
    for source, each in zip(documents, found, strict=True):
        begin, end = (np.asarray(source.cache.more[edges])[source.number + i] for i in (0, 1))
        entries.append(each[np.repeat(begin - np.cumsum(end - begin) + end - begin, end - begin) + np.arange((end - begin).sum())])
        counts.append(end - begin)
    return entries, np.cumsum(np.concatenate(counts))


def _one_numbering(documents: Sequence[Documents], column: str, found: Sequence[np.ndarray]) -> tuple[dict[str, str], list[np.ndarray]]:
    """All names, each with the place where it stands first, and the columns as places in them."""
    names: dict[str, str] = {}
    place: dict[str, int] = {}
    numbered = []
    for source, numbers in zip(documents, found, strict=True):
        table = np.full(len(source.cache.names[column]) + 1, NONE, np.int64)
        first = np.zeros(len(table), np.int64)
        labels, entries = np.unique(numbers, return_index=True)
        first[labels] = entries
        for label, name in enumerate(source.cache.names[column]):
            table[label] = place.setdefault(name, len(place))
            entry = int(first[label])
            names.setdefault(name, source.cache.where(_document(source, column, entry), entry if column == "tags" else None))
        numbered.append(table[numbers])
    return names, numbered


def _document(source: Documents, column: str, entry: int) -> int:
    """The number of the document that an entry of a column belongs to."""
    edges = source.cache.documents if column in TOKENS else source.cache.more[EDGES[column]] if column in EDGES else None
    return entry if edges is None else int(np.searchsorted(edges, entry, side="right")) - 1
