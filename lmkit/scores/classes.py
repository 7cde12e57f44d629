"""Predicted labels against true ones, one a row or a set of them, by scikit-learn."""

from collections.abc import Callable, Collection, Sequence
from math import nan

import numpy as np

from lmkit.scores.figure import Figure, figures
from lmkit.scores.names import CLASSES, MULTI_LABEL, refuse_unknown

MEASURES = ("precision", "recall", "f1")


def classification(
    gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str], names: Sequence[str], *, rounds: int = 0
) -> dict[str, Figure]:
    """Figures of CLASSES for one label a row.

    Means are over the labels that occur, true or predicted; "_binary" is of the second of the labels. What would divide by 0 is 0,
    and so is matthews where only one label occurs. ValueError for a label that is not among `labels`.
    """
    refuse_unknown(names, CLASSES)
    tallied = tally(np.stack([places(gold, labels), places(predicted, labels)], axis=1), np.arange(len(gold)))

    def score(rows: np.ndarray) -> dict[str, float]:
        outcomes, counts = tallied(rows)
        return label_scores(names, outcomes[:, 0], outcomes[:, 1], counts)

    return figures(names, score, len(gold), rounds=rounds)


def multi_label(
    gold: Sequence[Collection[str]], predicted: Sequence[Collection[str]], labels: Sequence[str], names: Sequence[str], *, rounds: int = 0
) -> dict[str, Figure]:
    """Figures of MULTI_LABEL for a set of labels a row; accuracy is the share of rows whose sets are equal.

    Means are over all `labels`, "_samples" over rows. What would divide by 0 is 0. ValueError for a label not among `labels`.
    """
    refuse_unknown(names, MULTI_LABEL)
    tallied = tally(np.concatenate([_indicators(gold, labels), _indicators(predicted, labels)], axis=1), np.arange(len(gold)))

    def score(rows: np.ndarray) -> dict[str, float]:
        outcomes, counts = tallied(rows)
        return label_scores(names, outcomes[:, : len(labels)], outcomes[:, len(labels) :], counts)

    return figures(names, score, len(gold), rounds=rounds)


def label_scores(names: Sequence[str], gold: np.ndarray, predicted: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """scikit-learn's figures of outcomes that occur so often: label ids int[C], or indicators int[C, labels]; counts > 0, [C].

    Those of no outcomes are nan.
    """
    from sklearn.metrics import accuracy_score, matthews_corrcoef, precision_recall_fscore_support

    if not len(counts):
        return dict.fromkeys(names, nan)
    found: dict[str, float] = {}
    for average in {name.partition("_")[2] for name in names if name.startswith(MEASURES)}:
        means = {"average": "macro", "labels": [1]} if average == "binary" else {"average": average or "macro"}
        three = precision_recall_fscore_support(gold, predicted, sample_weight=counts, zero_division=0, **means)
        found |= {f"{measure}_{average}".rstrip("_"): float(value) for measure, value in zip(MEASURES, three, strict=False)}
    if "accuracy" in names:
        found["accuracy"] = float(accuracy_score(gold, predicted, sample_weight=counts))
    if "matthews" in names:
        several = len(np.unique([gold, predicted])) > 1
        found["matthews"] = float(matthews_corrcoef(gold, predicted, sample_weight=counts)) if several else 0.0
    return {name: found[name] for name in names}


def tally(outcomes: np.ndarray, row: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """From rows to the distinct outcomes in them, and how often each occurs; outcome i, int[I, K], is in row `row[i]`, int[I].

    Few outcomes stand for many rows, so that figures of a thousand resamples take seconds.
    """
    distinct, which = np.unique(outcomes, axis=0, return_inverse=True)

    def tallied(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        times = np.bincount(rows, minlength=row.max(initial=0) + 1)
        counts = np.bincount(which.reshape(-1), times[row], minlength=len(distinct))
        return distinct[counts > 0], counts[counts > 0]

    return tallied


def places(values: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """int[N]: where each value stands among the labels; ValueError if nowhere."""
    place = {label: number for number, label in enumerate(labels)}
    unknown = set(values) - place.keys()
    if unknown:
        raise ValueError(f"{min(unknown)!r} is not among the labels")
    return np.array([place[value] for value in values], int)


def _indicators(sets: Sequence[Collection[str]], labels: Sequence[str]) -> np.ndarray:
    found = np.zeros((len(sets), len(labels)), int)
    for row, members in enumerate(sets):
        found[row, places(sorted(members), labels)] = 1
    return found
