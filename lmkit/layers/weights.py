"""How a weight is made: its canonical name, its logical axes, and the values it starts from."""

from dataclasses import dataclass
from typing import Any, Literal

import keras


@dataclass(frozen=True)
class Normal:
    """Starts from a normal distribution around 0."""

    stddev: float


Start = Literal["zeros", "ones"] | Normal


@dataclass(frozen=True)
class Weight:
    """What models/initialize.py and sharding need to know of a variable, kept on it as `variable.described`."""

    start: Start
    axes: tuple[str, ...]


def add_weight(layer: keras.layers.Layer, name: str, shape: tuple[int, ...], start: Start, axes: tuple[str, ...]) -> Any:
    """Makes a variable; `axes` names each dimension (`vocab`, `hidden`, `heads`, `feed_forward`, ...).

    It is held in the dtype that the layer's policy says, float32 in training. A normal start is only recorded (the variable
    holds zeros until models/initialize.py fills it), so that the values depend on the seed and the name alone, not on the
    engine or the order of building.
    """
    if len(axes) != len(shape):
        raise ValueError(f"{name} has shape {shape} but axes {axes}")
    initializer = "ones" if start == "ones" else "zeros"
    variable = layer.add_weight(name=name, shape=shape, initializer=initializer, dtype=layer.variable_dtype, autocast=False)
    variable.described = Weight(start, axes)
    return variable


def canonical(named: Any) -> str:
    """The name of a variable or built layer that files, freeze patterns and messages use: its path without the root, dotted."""
    return named.path.partition("/")[2].replace("/", ".")
