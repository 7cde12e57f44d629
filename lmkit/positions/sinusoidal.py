"""Sinusoidal positions ("Attention Is All You Need", section 3.5)."""

from typing import Any

import numpy as np
from keras import ops

from lmkit.layers.layer import Layer


def sinusoids(positions_BT: Any, hidden_size: int, base: float) -> Any:
    """float32 [B, T, D]: channel 2i is sin(p / base^(2i/D)), channel 2i + 1 the cosine of the same angle."""
    pairs = (hidden_size + 1) // 2
    frequencies = base ** (-2 * np.arange(pairs, dtype=np.float64) / hidden_size)
    angles = ops.expand_dims(ops.cast(positions_BT, "float32"), -1) * ops.convert_to_tensor(frequencies.astype(np.float32))
    waves = ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1)
    batch, length = ops.shape(positions_BT)
    waves = ops.reshape(waves, (batch, length, 2 * pairs))
    return waves if 2 * pairs == hidden_size else ops.take(waves, np.arange(hidden_size), axis=-1)


class SinusoidalPosition(Layer):
    """positions int[B, T] -> vectors float32 [B, T, D]; no weights."""

    slot = "embedding"

    def __init__(self, hidden_size: int, *, base: float = 10000.0, **options: Any) -> None:
        super().__init__(**options)
        self.hidden_size, self.base = hidden_size, base

    def build(self, input_shape: Any = None) -> None:
        pass

    def call(self, positions: Any) -> Any:
        return sinusoids(positions, self.hidden_size, self.base)
