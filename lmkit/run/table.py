"""Figures for a reader and for tools: values, the intervals that resampling gives, and how each was computed."""

import json
from collections.abc import Iterator, Mapping
from math import isnan
from typing import Any

from lmkit.scores.figure import Figure


def lines(figures: Mapping[str, Figure]) -> Iterator[str]:
    """A line a figure, with its interval where it has one, and below them the signatures."""
    width = max(map(len, figures))
    for name, figure in figures.items():
        interval = "" if figure.low is None or figure.high is None else f"  {figure.low:.4f} to {figure.high:.4f}"
        yield f"{name:<{width}}  {figure.value:.4f}{interval}"
    if any(figure.low is not None for figure in figures.values()):
        yield "from ... to: 95 % of the values over resampled documents (bootstrap)"
    yield from (f"{name}: {figure.signature}" for name, figure in figures.items() if figure.signature)


def as_json(figures: Mapping[str, Figure], **facts: Any) -> str:
    """One object: `facts`, `figures` by name and, of those that have them, `intervals` and `signatures`; null is no number."""

    def number(value: float) -> float | None:
        return None if isnan(value) else value

    intervals = {
        name: [number(figure.low), number(figure.high)]
        for name, figure in figures.items()
        if figure.low is not None and figure.high is not None
    }
    signatures = {name: figure.signature for name, figure in figures.items() if figure.signature}
    values = {name: number(figure.value) for name, figure in figures.items()}
    return json.dumps(facts | {"figures": values, "intervals": intervals, "signatures": signatures}, ensure_ascii=False)
