"""What the records of several sources say, in one numbering."""

from collections.abc import Sequence

import numpy as np

from lmkit.data.annotations import NONE
from lmkit.data.cache import NUMBERED
from lmkit.data.documents import Documents
from lmkit.errors import DataError, Problem
from lmkit.tasks.rows import Examples

COLUMNS = {"label": ("labels",), "value": ("values",), "tags": ("tags",), "answers": ("answer_first", "answer_last")}
TOKENS = ("tags", "counted")  # have an entry for each token, not for each record
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
    for role in roles:
        for source in documents:
            if not set(COLUMNS[role]) <= source.cache.more.keys():
                raise DataError(Problem(f"source {source.name} has no {role}; name its field in columns: {{{role}: ...}}", key))
        for column in COLUMNS[role]:
            found = [np.asarray(source.cache.more[column]) for source in documents]
            if column in NUMBERED:
                names[column], found = _one_numbering(documents, column, found)
            if column in TOKENS:
                tokens[column] = found
            else:
                values[column] = np.concatenate([each[source.number] for each, source in zip(found, documents, strict=True)])
    for column in heeded:
        if any(column in source.cache.more for source in documents):
            tokens[column] = [np.asarray(source.cache.more.get(column, EACH)) for source in documents]
    return Examples(values, names), tokens


def _one_numbering(documents: Sequence[Documents], column: str, found: Sequence[np.ndarray]) -> tuple[dict[str, str], list[np.ndarray]]:
    """All names, each with the place where it stands first, and the columns as places in them."""
    names: dict[str, str] = {}
    numbered = []
    for source, numbers in zip(documents, found, strict=True):
        table = np.full(len(source.cache.names[column]) + 1, NONE, np.int64)
        for label, name in enumerate(source.cache.names[column]):
            names.setdefault(name, source.cache.where(_document(source, column, int(np.argmax(numbers == label)))))
            table[label] = list(names).index(name)
        numbered.append(table[numbers])
    return names, numbered


def _document(source: Documents, column: str, entry: int) -> int:
    """The number of the document that an entry of a column belongs to."""
    return int(np.searchsorted(source.cache.documents, entry, side="right")) - 1 if column in TOKENS else entry
