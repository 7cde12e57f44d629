"""ALiBi: a penalty on the scores, linear in the distance, with one slope a head (Press et al., 2021)."""

from typing import Any

import numpy as np
from keras import ops

from lmkit.layers.layer import Layer


def alibi_slopes(num_heads: int) -> list[float]:
    """2^(-8i/n) for i = 1..n heads when n is a power of two.

    Otherwise those of the power of two below n, then every other slope of the power above it, as the authors' code does.
    """
    below = 2 ** (num_heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * i / below) for i in range(1, below + 1)]
    return slopes + [2.0 ** (-4 * i / below) for i in range(1, 2 * (num_heads - below), 2)]


def alibi_bias(query_index: Any, key_index: Any, num_heads: int) -> Any:
    """float32 [B or 1, N, T, S]: -slope * |q - k| from places int[B or 1, T] and int[B or 1, S]."""
    q = ops.cast(ops.expand_dims(ops.expand_dims(query_index, 1), 3), "float32")
    k = ops.cast(ops.expand_dims(ops.expand_dims(key_index, 1), 1), "float32")
    slopes = ops.convert_to_tensor(np.reshape(np.array(alibi_slopes(num_heads), np.float32), (1, num_heads, 1, 1)))
    return -slopes * ops.abs(q - k)


class AlibiPosition(Layer):
    """Places of queries and keys, padding not counted (BLOOM) -> additive bias of the scores; no weights."""

    slot = "bias"
    skips_padding = True

    def __init__(self, num_heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.num_heads = num_heads

    def build(self, input_shape: Any = None) -> None:
        pass

    def call(self, query_index: Any, key_index: Any) -> Any:
        return alibi_bias(query_index, key_index, self.num_heads)
