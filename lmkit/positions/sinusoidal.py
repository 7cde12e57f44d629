"""Sinusoidal positions ("Attention Is All You Need", section 3.5)."""

from typing import Any, Literal

import numpy as np
from keras import ops

from lmkit.layers.layer import Layer

Layout = Literal["interleaved", "half"]


def sinusoids(positions_BT: Any, hidden_size: int, base: float, layout: Layout = "interleaved") -> Any:
    """float32 [B, T, D]: sines and cosines of the angles p / base^(2i/D), as neighbours or all sines first."""
    pairs = (hidden_size + 1) // 2
    frequencies = base ** (-2 * np.arange(pairs, dtype=np.float64) / hidden_size)
    angles = ops.expand_dims(ops.cast(positions_BT, "float32"), -1) * ops.convert_to_tensor(frequencies.astype(np.float32))
    batch, length = ops.shape(positions_BT)
    if layout == "half":
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
    else:
        waves = ops.reshape(ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1), (batch, length, 2 * pairs))
    return waves if 2 * pairs == hidden_size else ops.take(waves, np.arange(hidden_size), axis=-1)


class SinusoidalPosition(Layer):
    """positions int[B, T] -> vectors float32 [B, T, D]; no weights."""

    slot = "embedding"

    def __init__(self, hidden_size: int, *, base: float = 10000.0, layout: Layout = "interleaved", **options: Any) -> None:
        super().__init__(**options)
        self.hidden_size, self.base, self.layout = hidden_size, base, layout

    def build(self, input_shape: Any = None) -> None:
        pass

    def call(self, positions: Any, tokens: Any = None) -> Any:
        return sinusoids(positions, self.hidden_size, self.base, self.layout)
