"""Single-label classification of a text or a pair of texts."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from lmkit.errors import DataError, Problem
from lmkit.tasks.rows import Examples, TokenRows


def features(rows: TokenRows, *, examples: Examples, table: np.ndarray) -> dict[str, np.ndarray]:
    """labels [B] = table[label of the record], weights [B] float32: 1 for every row that is no padding."""
    return {"labels": table[examples.of("labels", rows)], "weights": rows.real}


def label_names(declared: Literal["auto"] | Sequence[str], found: Sequence[str], key: str) -> tuple[str, ...]:
    """The labels in the order of their ids: as declared, or those found in the training data, sorted by `label_order`.

    Raises DataError where there are fewer than two.
    """
    names = tuple(sorted(set(found), key=label_order)) if declared == "auto" else tuple(declared)
    if len(names) < 2:
        what = f"only the label {names[0]}" if names else "no labels"
        raise DataError(Problem(f"the training data has {what}; classification needs two or more", key))
    return names


def label_table(names: Sequence[str], found: Mapping[str, str], *, key: str) -> np.ndarray:
    """int32 [len(found) + 1]: the id of each label of a source, which stands first where `found` says, and -1 for none.

    Raises DataError naming every label that is not among `names`.
    """
    unknown = [
        Problem(f'label "{label}" is not one of {", ".join(names)}', key, place) for label, place in found.items() if label not in names
    ]
    if unknown:
        raise DataError(*unknown)
    return np.array([*map(names.index, found), -1], np.int32)


def label_order(name: str) -> tuple[int, int, str]:
    """Sorts labels: whole numbers by value, then the others as text."""
    whole = name.removeprefix("-").isdecimal() and len(name) < 20
    return (0, int(name), name) if whole else (1, 0, name)
