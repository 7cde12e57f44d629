"""A figure and how far it can be trusted: the percentile bootstrap over examples (Efron, 1979)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

ROUNDS = 1000


@dataclass(frozen=True)
class Figure:
    """A value; from low to high, 95 % of its values over resampled examples, None where not asked for; how it was computed."""

    value: float
    low: float | None = None
    high: float | None = None
    signature: str = ""


def figures(
    names: Sequence[str], score: Callable[[np.ndarray], dict[str, float]], count: int, *, rounds: int = 0, signature: str = ""
) -> dict[str, Figure]:
    """Everything that `score` (rows int[n] -> value by name) says of all `count` rows, with intervals over `rounds` resamples.

    Without rows every name is nan. Resamples in which a value is nan do not count for its interval.
    """
    if not count:
        edge = nan if rounds else None
        return {name: Figure(nan, edge, edge, signature) for name in names}
    values = score(np.arange(count))
    drawn = [score(rows) for rows in resamples(count, rounds)]
    return {name: Figure(values[name], *interval([one[name] for one in drawn]), signature) for name in names}


def resamples(count: int, rounds: int = ROUNDS, seed: int = 0) -> Iterator[np.ndarray]:
    """`rounds` times `count` rows out of `count` with replacement, int[count]; equal arguments give equal draws."""
    rng = np.random.default_rng(seed)
    return (rng.integers(count, size=count) for _ in range(rounds))


def interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The 2.5th and the 97.5th percentile of those that are not nan; (None, None) of no values, (nan, nan) where all are nan."""
    if not values:
        return None, None
    known = np.asarray(values)[~np.isnan(values)]
    low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (nan, nan)
    return float(low), float(high)
