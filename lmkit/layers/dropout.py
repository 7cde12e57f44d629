"""Dropout by counting: a mask is a hash of (row key, layer, element), so it depends on neither batch split nor device."""

from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
from keras import ops

from lmkit.engine.tensorflow import fused


def scramble(x: Any) -> Any:
    """A bijection of uint32 in which every input bit flips each output bit about half the time ("lowbias32", Wellons 2018)."""
    x = ops.bitwise_xor(x, ops.right_shift(x, _word(16)))
    x = ops.multiply(x, _word(0x7FEB352D))
    x = ops.bitwise_xor(x, ops.right_shift(x, _word(15)))
    x = ops.multiply(x, _word(0x846CA68B))
    return ops.bitwise_xor(x, ops.right_shift(x, _word(16)))


def mix(*words: Any) -> Any:
    """One uint32 from several (tensors of uint32 that broadcast, or ints): h = scramble(h xor word), from h = 0.

    The same numbers as lmkit.counting.mix gives in numpy.
    """
    h = _word(0)
    for word in words:
        h = scramble(ops.bitwise_xor(h, _word(word) if isinstance(word, int) else word))
    return h


def keep_mask(shape: tuple[int, ...], rate: float, row_key: Any, layer_id: Any) -> Any:
    """bool[shape]: True with probability 1 - rate, by `counted`."""
    return ops.greater_equal(counted(shape, row_key, layer_id), _word(round(rate * 2**32)))


def counted(shape: tuple[int, ...], row_key: Any, layer_id: Any) -> Any:
    """uint32[shape]: mix(row_key[b], layer_id, index of the element within row b)."""
    batch, *inner = shape
    size = 1
    for length in inner:
        size = size * length
    row = ops.reshape(mix(ops.cast(row_key, "uint32"), layer_id), (-1, 1))
    index = ops.cast(ops.arange(size, dtype="int32"), "uint32")
    hashed = scramble(ops.bitwise_xor(row, ops.expand_dims(index, 0)))
    return ops.reshape(hashed, (batch, *inner))


def dropout(x: Any, rate: float, row_key: Any, layer_id: int) -> Any:
    """Zeroes elements of `x` [B, ...] with probability `rate` and scales the rest by 1 / (1 - rate).

    `row_key` uint32[B] says which draw each row gets; None is inference and returns `x` itself.
    """
    if row_key is None or rate == 0:
        return x
    return _kernel(rate)(x, ops.cast(row_key, "uint32"), _word(layer_id))


@cache
def _kernel(rate: float) -> Any:
    """Dropout of one rate as a fused kernel: the backward pass counts the mask again instead of reading it from memory."""

    def drop(x: Any, row_key: Any, layer_id: Any) -> Any:
        scaled = ops.multiply(x, ops.cast(1 / (1 - rate), x.dtype))
        return ops.where(keep_mask(ops.shape(x), rate, row_key, layer_id), scaled, ops.zeros_like(x))

    return fused(drop)


def layer_id(name: str) -> int:
    """The 32 bits that stand for a dropout in the hash: the checksum of its canonical name."""
    return crc32(name.encode())


def _word(value: int) -> Any:
    return ops.convert_to_tensor(np.uint32(value))
