"""Predicted numbers against true ones: correlations by scipy, and mean errors."""

import warnings
from collections.abc import Sequence

import numpy as np

from lmkit.scores.figure import Figure, figures
from lmkit.scores.names import NUMBERS, refuse_unknown


def regression(gold: Sequence[float], predicted: Sequence[float], names: Sequence[str], *, rounds: int = 0) -> dict[str, Figure]:
    """Figures of NUMBERS; a correlation is nan for fewer than two rows, or where all numbers of a side are equal."""
    refuse_unknown(names, NUMBERS)
    true, guess = np.asarray(gold, float), np.asarray(predicted, float)
    if true.shape != guess.shape:
        raise ValueError(f"{len(true)} true numbers, {len(guess)} predicted")

    def score(rows: np.ndarray) -> dict[str, float]:
        return {name: _number(name, true[rows], guess[rows]) for name in names}

    return figures(names, score, len(true), rounds=rounds)


def _number(name: str, true: np.ndarray, guess: np.ndarray) -> float:
    if name == "mse":
        return float(np.mean((guess - true) ** 2))
    if name == "mae":
        return float(np.mean(np.abs(guess - true)))
    if len(true) < 2:
        return float("nan")
    from scipy.stats import pearsonr, spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nan says that the input was constant
        return float((pearsonr if name == "pearson" else spearmanr)(true, guess)[0])
