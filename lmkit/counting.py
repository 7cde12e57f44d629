"""A counter hash: everything random is a pure function of the words that name it (seed, step, row, place)."""

from typing import Any

import numpy as np

MASK = 0xFFFFFFFF

# (words, mix(*words)): what every other implementation of the same hash must reproduce.
TEST_VECTOR = (
    ((1,), 1753845952),
    ((0, 0, 1), 1753845952),
    ((7, 11, 13), 92608353),
    ((2**31 - 1, 123456, 4294967295), 179893071),
)


def scramble(x: Any) -> Any:
    """A bijection of 32-bit words (Wellons' lowbias32); an int gives an int, an array an array of uint32."""
    if isinstance(x, int):
        x = ((x ^ x >> 16) * 0x7FEB352D) & MASK
        x = ((x ^ x >> 15) * 0x846CA68B) & MASK
        return x ^ x >> 16
    x = x ^ (x >> 16)
    x *= 0x7FEB352D
    x ^= x >> 15
    x *= 0x846CA68B
    x ^= x >> 16
    return x


def mix(*words: Any) -> Any:
    """Hash of a sequence of 32-bit words: `h = 0`, then `h = scramble(h ^ word)` for each.

    Words are ints or integer arrays that broadcast (taken modulo 2**32); ints alone give an int, else uint32 arrays.
    Equal words give equal hashes on every machine, and for fixed other words it is a bijection of the last one.
    """
    h: Any = 0
    for word in words:
        number = isinstance(word, int | np.integer)
        h = scramble(h ^ (int(word) & MASK if number else np.asarray(word).astype(np.uint32)))
    return h
