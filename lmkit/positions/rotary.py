"""Rotary positions: pairs of query and key channels turned by an angle proportional to the position (RoFormer)."""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np
from keras import ops

from lmkit.engine.tensorflow import fused
from lmkit.layers.layer import Layer

Layout = Literal["half", "interleaved"]


def rotary_table(positions_BT: Any, size: int, base: float) -> tuple[Any, Any]:
    """Cosines and sines, float32 [B, T, size / 2], of the angles p * base^(-2i / size)."""
    frequencies = base ** (-np.arange(0, size, 2, dtype=np.float64) / size)
    angles = ops.expand_dims(ops.cast(positions_BT, "float32"), -1) * ops.convert_to_tensor(frequencies.astype(np.float32))
    return ops.cos(angles), ops.sin(angles)


def rotate(x_BTNH: Any, table: tuple[Any, Any], layout: Layout = "half") -> Any:
    """Turns the first 2R channels of each head by the R angles of `table`; the rest pass.

    `half` pairs channel i with i + R (Llama, NeoX), `interleaved` pairs 2i with 2i + 1 (RoFormer, GPT-J). The product is
    computed in float32 and returned in the dtype of `x`.
    """
    return _in_layout(layout)(x_BTNH, *table)


def _rotated(x_BTNH: Any, cos_BTR: Any, sin_BTR: Any, layout: Layout) -> Any:
    cos, sin = ops.expand_dims(cos_BTR, 2), ops.expand_dims(sin_BTR, 2)
    pairs = cos.shape[-1]
    batch, length, heads, width = ops.shape(x_BTNH)
    turned, kept = x_BTNH, None
    if 2 * pairs != width:
        turned, kept = ops.split(x_BTNH, [2 * pairs], axis=-1)
    turned = ops.cast(turned, "float32")
    if layout == "interleaved":
        a, b = ops.unstack(ops.reshape(turned, (batch, length, heads, pairs, 2)), axis=-1)
        out = ops.reshape(ops.stack([a * cos - b * sin, b * cos + a * sin], axis=-1), (batch, length, heads, 2 * pairs))
    else:
        a, b = ops.split(turned, 2, axis=-1)
        out = ops.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
    out = ops.cast(out, x_BTNH.dtype)
    return out if kept is None else ops.concatenate([out, kept], axis=-1)


@cache
def _in_layout(layout: Layout) -> Callable[..., Any]:
    return fused(lambda x, cos, sin: _rotated(x, cos, sin, layout))


class RotaryPosition(Layer):
    """positions int[B, T] -> the table that `rotate` takes; no weights."""

    slot = "rotation"

    def __init__(self, head_dim: int, *, base: float = 10000.0, fraction: float = 1.0, layout: Layout = "half", **options: Any) -> None:
        super().__init__(**options)
        self.head_dim, self.base, self.fraction, self.layout = head_dim, base, fraction, layout
        self.size = int(head_dim * fraction)
        if self.size % 2:
            raise ValueError(f"rotary turns pairs of channels, but {fraction:g} of head_dim = {head_dim} is odd")

    def build(self, input_shape: Any = None) -> None:
        pass

    def call(self, positions: Any) -> tuple[Any, Any]:
        return rotary_table(positions, self.size, self.base)
