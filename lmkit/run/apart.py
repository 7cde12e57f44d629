"""How far two rehearsals of a spec are apart: the figures of every step, and the tensors after the last."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lmkit.run.rehearse import FIGURES, TENSORS

MOMENTUM = "m"  # the slot that Lion takes signs of
LIMITS = {"loss": 1e-5, "gradient_norm": 1e-4, "weights": 1e-4}  # relative; a wrong sum is off by far more at its first step


@dataclass(frozen=True)
class Compared:
    """The largest relative differences of a side to one replica; `differs` says where the first one is that is no rounding."""

    name: str
    loss: float
    gradient_norm: float
    weights: float
    differs: str = ""


def compared(name: str, one: Path, other: Path, *, signs: bool = False) -> Compared:
    """The differences of two folders that `rehearse` filled.

    Where weights move by `signs`, one that rounding turns is a whole step: what is compared is the momentum that the signs are of.
    """
    worst, first = {"loss": 0.0, "gradient_norm": 0.0}, ""
    for step, (mine, theirs) in enumerate(zip(figures_of(one), figures_of(other), strict=True), 1):
        for figure in sorted(figure for figure in mine if figure.endswith("loss") or figure in worst):
            kind = "gradient_norm" if figure == "gradient_norm" else "loss"
            error = _apart(mine[figure], theirs[figure])
            worst[kind] = max(worst[kind], error)
            if not error <= LIMITS[kind] and not first:
                first = f"step {step}: {figure} is {theirs[figure]:.9g}, with 1 replica {mine[figure]:.9g}"
    tensors = _tensors_apart(one / TENSORS, other / TENSORS)
    weights, tensor = tensors[MOMENTUM] if signs else max(tensors.values())
    if not weights <= LIMITS["weights"] and not first:
        first = f"after the last step: {tensor}"
    return Compared(name, worst["loss"], worst["gradient_norm"], weights, first)


def _apart(one: float, other: float) -> float:
    return abs(one - other) / max(abs(one), abs(other), 1e-30)


def _tensors_apart(one: Path, other: Path) -> dict[str, tuple[float, str]]:
    """For the weights, whose kind is "", and each kind of slot: the length of the difference of all, in lengths of these, and which tensor
    has most of it.
    """
    squares: dict[str, np.ndarray] = {}
    most: dict[str, tuple[float, str]] = {}
    with np.load(one, allow_pickle=False) as mine, np.load(other, allow_pickle=False) as theirs:
        for name in mine.files:
            kind = name.partition("/")[2]
            a, b = (np.asarray(held[name], np.float64) for held in (mine, theirs))
            part = np.array([np.sum((a - b) ** 2), np.sum(a**2)])
            squares[kind] = squares.get(kind, np.zeros(2)) + part
            most[kind] = max(most.get(kind, (-1.0, "")), (float(part[0]), name))
    return {kind: (float(np.sqrt(apart / max(length, 1e-30))), most[kind][1]) for kind, (apart, length) in squares.items()}


def figures_of(folder: Path) -> list[dict[str, float]]:
    """A mapping for each step."""
    found: list[dict[str, float]] = json.loads((folder / FIGURES).read_text())
    return found
