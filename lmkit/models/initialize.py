"""First values of every weight: a function of the seed and the weight's canonical name, whatever the engine or the sharding."""

import hashlib
from typing import Any

import keras
import numpy as np

from lmkit.layers.weights import Normal, canonical

CHUNK = 1 << 20


def initialize(layer: keras.layers.Layer, seed: int) -> None:
    """Fills each variable of a built layer: normal, zeros or ones, as recorded where it was made."""
    for variable in layer.weights:
        variable.assign(first_values(variable, seed))


def first_values(variable: Any, seed: int) -> np.ndarray:
    """The float32 values that `seed` gives this variable."""
    shape, start = tuple(variable.shape), variable.described.start
    if isinstance(start, Normal):
        return (normal(seed, canonical(variable), int(np.prod(shape))) * np.float32(start.stddev)).reshape(shape)
    return np.full(shape, 1 if start == "ones" else 0, np.float32)


def normal(seed: int, name: str, size: int) -> np.ndarray:
    """float32[size] from the standard normal distribution: Box-Muller over Philox4x64 keyed by the seed and the name.

    Only the generator's raw words are used: numpy promises their stream, but not that of `standard_normal`.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    words = np.random.Philox(key=np.frombuffer(digest[:16], "<u8"))
    out = np.empty(size, np.float32)
    for first in range(0, size, CHUNK):
        part = out[first : first + CHUNK]
        pairs = (len(part) + 1) // 2
        uniform = ((words.random_raw(2 * pairs) >> np.uint64(11)) + 1).astype(np.float64) * 2.0**-53  # in (0, 1]
        radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
        part[:] = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[: len(part)]
    return out
