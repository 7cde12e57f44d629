"""Vectors of texts: whether like texts are near each other."""

from collections.abc import Sequence

import numpy as np

from lmkit.scores.figure import Figure, figures
from lmkit.scores.names import RETRIEVAL, SIMILARITY, refuse_unknown
from lmkit.scores.numbers import regression

BLOCK = 1024
TIE = 1e-6


def cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    """float[N]: the cosine of each row of a and the same row of b; 0 for a vector of length 0."""
    return np.sum(_of_length_1(a_ND) * _of_length_1(b_ND), axis=1)


def similarity(a_ND: np.ndarray, b_ND: np.ndarray, gold: Sequence[float], names: Sequence[str], *, rounds: int = 0) -> dict[str, Figure]:
    """Figures of SIMILARITY: how the cosines of pairs go with people's ratings of them, `gold` [N]."""
    refuse_unknown(names, SIMILARITY)
    return regression(gold, cosines(a_ND, b_ND).tolist(), names, rounds=rounds)


def retrieval(a_ND: np.ndarray, b_ND: np.ndarray, names: Sequence[str], *, rounds: int = 0) -> dict[str, Figure]:
    """Figures of RETRIEVAL for finding row i of b by row i of a among all rows of b, by cosine.

    accuracy_at_1 is the share found first, mrr the mean of 1 / rank. A tie (within 1e-6) is lost, so that equal vectors find nothing.
    """
    refuse_unknown(names, RETRIEVAL)
    rank = ranks(np.asarray(a_ND), np.asarray(b_ND))
    values = {"accuracy_at_1": rank == 1, "mrr": 1 / rank}
    return figures(names, lambda rows: {name: float(values[name][rows].mean()) for name in names}, len(rank), rounds=rounds)


def ranks(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    """int[N]: how many rows of b are as near to row i of a as row i of b is, itself included."""
    a_ND, b_ND = _of_length_1(a_ND), _of_length_1(b_ND)
    own = np.sum(a_ND * b_ND, axis=1)
    found = [
        np.sum(a_ND[start : start + BLOCK] @ b_ND.T >= own[start : start + BLOCK, None] - TIE, axis=1)
        for start in range(0, len(a_ND), BLOCK)
    ]
    return np.concatenate([np.zeros(0, int), *found])


def _of_length_1(x_ND: np.ndarray) -> np.ndarray:
    x_ND = np.asarray(x_ND, float)
    return x_ND / np.maximum(np.linalg.norm(x_ND, axis=-1, keepdims=True), 1e-12)
