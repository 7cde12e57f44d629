"""The small network that stands between hidden states and a head's projection: norm(activation(x W + b))."""

from typing import Any

from lmkit.layers.activations import activation


def transformed(x: Any, dense: Any, name: str, norm: Any = None) -> Any:
    """norm(activation(dense(x))); without a dense layer `x` itself, without a norm the activation."""
    if dense is None:
        return x
    x = activation(name)(dense(x))
    return x if norm is None else norm(x)


def build_parts(*parts: Any) -> None:
    """Builds the layers among `parts`; the others are None."""
    for part in parts:
        if part is not None:
            part.build()
