"""By how much the better of two answers is preferred, over many pairs."""

from collections.abc import Sequence

import numpy as np

from lmkit.scores.figure import Figure, figures


def preferences(margins: Sequence[float], *, rounds: int = 0) -> dict[str, Figure]:
    """accuracy: the share of the pairs with a margin above 0; margin: their mean."""
    given = np.asarray(margins, float)

    def score(rows: np.ndarray) -> dict[str, float]:
        return {"accuracy": float(np.mean(given[rows] > 0)), "margin": float(np.mean(given[rows]))}

    return figures(("accuracy", "margin"), score, len(given), rounds=rounds)
