"""Figures that a user's own class gives."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from lmkit.errors import Problem, SpecError
from lmkit.layers.build import code_of
from lmkit.scores.figure import Figure, figures


class Metric:
    """What a metric of your own derives from; docs/extend.md has an example. `resampled` False: it is too slow for an interval."""

    resampled = True

    def __init__(self, *, name: str, **options: Any) -> None:
        self.name = name

    def score(self, right: Sequence[Any], answered: Sequence[Any]) -> float:
        """One number for all answers, the more the better, from what is right and what was answered, text by text."""
        raise NotImplementedError


def own_figure(metric: Metric, right: Sequence[Any], answered: Sequence[Any], *, rounds: int = 0) -> Figure:
    """The metric's figure, nan without answers. Raises SpecError where it gives no number."""

    def score(rows: np.ndarray) -> dict[str, float]:
        value = metric.score([right[i] for i in rows], [answered[i] for i in rows])
        if not isinstance(value, Real):
            what = f"{type(metric).__name__}.score gives {type(value).__name__}; give a number"
            raise SpecError(Problem(what, where=code_of(type(metric))))
        return {metric.name: float(value)}

    return figures([metric.name], score, len(right), rounds=rounds if metric.resampled else 0)[metric.name]
