"""Order without state: row keys, permutations with random access, and the closed-form mixing of weighted streams."""

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt, lcm
from typing import Any

import numpy as np

from lmkit.counting import mix, scramble

ROUNDS = 8
LONGEST_BLOCK = 4096


def row_keys(seed: int, step: int, rows: int) -> np.ndarray:
    """uint32 [rows]: mix(seed, step, row), from which everything random in a row of a step follows."""
    return mix(seed, step, np.arange(rows, dtype=np.uint32))


def permutation(seed: int, epoch: Any, n: int, index: Any = None) -> Any:
    """Where the permutation of range(n) named by (seed, epoch) sends `index`; all of it when index is None.

    A Feistel network over Z_a x Z_b with a * b just above n, walked until it lands below n (Black and Rogaway 2002), so any
    element costs the same and nothing is stored. `index` is an int or an array below n < 2**32; `epoch` may be an array like it.
    """
    if index is None:
        index = np.arange(n, dtype=np.uint32)
    if n <= 1:
        return index
    a = isqrt(n - 1) + 1
    b = -(-n // a)
    keys = [mix(seed, epoch, i) for i in range(ROUNDS)]
    if isinstance(index, int | np.integer) and isinstance(keys[0], int):
        x = _feistel(int(index), keys, a, b)
        while x >= n:
            x = _feistel(x, keys, a, b)
        return x
    x = _feistel(np.asarray(index).astype(np.uint32), keys, a, b)
    outside = np.flatnonzero(x >= n)
    while len(outside):
        x[outside] = _feistel(x[outside], [k if isinstance(k, int) else k[outside] for k in keys], a, b)
        outside = outside[x[outside] >= n]
    return x


def _feistel(x: Any, keys: Sequence[Any], a: int, b: int) -> Any:
    left, right = x // b, x % b
    for i in range(0, ROUNDS, 2):
        left = (left + scramble(right ^ keys[i]) % a) % a
        right = (right + scramble(left ^ keys[i + 1]) % b) % b
    return left * b + right


class Mixture:
    """Interleaves endless streams by weight: every block of `block` draws holds exactly `quotas[k]` of stream k, in hashed order.

    The shares are exact for weights that are ratios of small whole numbers; else they are rounded to 1 in 4096.
    """

    def __init__(self, weights: Sequence[float], seed: int) -> None:
        total = sum(weights)
        shares = [Fraction(w / total).limit_denominator(1000) for w in weights]
        block = lcm(*(share.denominator for share in shares))
        if sum(shares) != 1 or block > LONGEST_BLOCK or 0 in shares:
            block = LONGEST_BLOCK
        exact = np.array([w / total * block for w in weights])
        quotas = np.maximum(np.floor(exact + 1e-6).astype(np.int64), 1)
        while quotas.sum() < block:
            quotas[np.argmax(exact - quotas)] += 1
        while quotas.sum() > block:
            quotas[np.argmax(quotas - exact)] -= 1
        self.seed, self.block, self.quotas = seed, block, quotas
        self.first = np.cumsum(quotas) - quotas
        self.stream = np.repeat(np.arange(len(weights)), quotas)

    def locate(self, index: Any) -> tuple[Any, Any]:
        """Draw number(s) -> (stream, number within that stream); a bijection onto all pairs."""
        block, inside = index // self.block, index % self.block
        slot = permutation(self.seed, block, self.block, inside)
        stream = self.stream[slot]
        within = block * self.quotas[stream] + slot - self.first[stream]
        return (int(stream), int(within)) if isinstance(index, int) else (stream, within)
