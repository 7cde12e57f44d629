"""Labels of a text or a pair of texts: one, or any number; how they are named, and how much each counts."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Literal

import numpy as np

from lmkit.errors import DataError, Problem
from lmkit.tasks.rows import Examples, TokenRows

DECLARED = "if it is one, list it there too"
FOUND = "no text of the training data has it"
MOST = 12  # labels that one message names
TOLD = 5  # unknown labels that have a message each


def features(rows: TokenRows, *, examples: Examples, table: np.ndarray, weights: np.ndarray, shared: bool) -> dict[str, np.ndarray]:
    """labels [B] = table[label of the record], weights [B] float32: weights[label] for every row that is no padding.

    Where the loss is `shared` among all labels, class_weights [B, labels] float32 are the weights of all of them.
    """
    labels = table[examples.of("labels", rows)]
    made = {"labels": labels, "weights": rows.real * weights[labels]}
    return made | ({"class_weights": np.outer(rows.real, weights)} if shared else {})


def set_features(rows: TokenRows, *, examples: Examples, table: np.ndarray, weights: np.ndarray, weighed: bool) -> dict[str, np.ndarray]:
    """labels int32 [B, labels]: 1 for each label of the record, weights [B] float32: 1 for every row that is no padding.

    Where labels are `weighed`, class_weights [B, labels] float32 say by how much each counts where it is 1.
    """
    row, label = examples.several("sets", "set_documents", rows)
    labels = np.zeros((len(rows.real), len(weights)), np.int32)
    labels[row, table[label]] = 1
    return {"labels": labels, "weights": rows.real} | ({"class_weights": np.outer(rows.real, weights)} if weighed else {})


def label_names(declared: Literal["auto"] | Sequence[str] | Mapping[str, str], found: Collection[str], key: str) -> tuple[str, ...]:
    """The labels in the order of their ids: as declared, or those found in the training data, sorted by `label_order`.

    Raises DataError where there are fewer than two.
    """
    if declared == "auto":
        names = tuple(sorted(set(found), key=label_order))
    else:
        names = tuple(dict.fromkeys(declared.values() if isinstance(declared, Mapping) else declared))
    if len(names) < 2:
        what = f"only the label {names[0]}" if names else "no labels"
        fix = "see that columns name the field that tells texts apart"
        raise DataError(Problem(f"the training data has {what}, and two or more are needed; {fix}", key))
    return names


def label_table(
    names: Sequence[str], found: Mapping[str, str], *, key: str, called: Mapping[str, str] | None = None, fix: str = DECLARED
) -> np.ndarray:
    """int32 [len(found) + 1]: the id of each label of a source, which stands first where `found` says, and -1 for none.

    `called` gives the names of labels that the data calls otherwise. Raises DataError naming the first labels that are not known.
    """
    called = called or {}
    told = (unknown_label(label, names, called, key=key, where=place, fix=fix) for label, place in found.items())
    if unknown := [*islice(filter(None, told), TOLD)]:
        raise DataError(*unknown)
    return np.array([*(names.index(called.get(label, label)) for label in found), -1], np.int32)


def unknown_label(label: str, names: Sequence[str], called: Mapping[str, str], *, key: str, where: str, fix: str) -> Problem | None:
    """What is wrong with a label of the data: it is none of `names`, nor one that the data calls otherwise, as `called` says."""
    if called.get(label, label) in names:
        return None
    known = list(dict.fromkeys([*called, *names]))
    more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
    close = get_close_matches(label.lower(), [name.lower() for name in known], 1, 0.75)
    near = next((f"did you mean {name}? " for name in known if name.lower() in close), "")
    return Problem(f'label "{label}" is not one of {", ".join(known[:MOST])}{more}; {near}{fix}', key, where)


def label_weights(
    wanted: Literal["balanced"] | Mapping[str, float] | None,
    names: Sequence[str],
    table: np.ndarray,
    counts: np.ndarray,
    *,
    key: str,
    records: int | None = None,
) -> np.ndarray:
    """float32 [labels]: as `wanted`, 1 where nothing is said; balanced is n / (k * count) over the k labels that occur, n in all.

    Of sets of labels, that so many `records` have, balanced is (records without the label) / (records with it), neither less than 1.
    `counts` are those of a source's labels, whose ids `table` gives. Raises DataError for a weight of a label that is none.
    """
    if wanted == "balanced":
        found = np.bincount(table[:-1], weights=counts, minlength=len(names))
        if records is not None:
            return (np.maximum(records - found, 1) / np.maximum(found, 1)).astype(np.float32)
        return (found.sum() / (np.maximum(np.count_nonzero(found), 1) * np.maximum(found, 1))).astype(np.float32)
    wanted = wanted or {}
    unknown = [Problem(f"is no label; the labels are {', '.join(names)}", f"{key}.{name}") for name in wanted if name not in names]
    if unknown:
        raise DataError(*unknown)
    return np.array([wanted.get(name, 1.0) for name in names], np.float32)


def label_order(name: str) -> tuple[int, int, str]:
    """Sorts labels: whole numbers by value, then the others as text."""
    whole = name.removeprefix("-").isdecimal() and len(name) < 20
    return (0, int(name), name) if whole else (1, 0, name)
