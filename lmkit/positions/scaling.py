"""How rotary frequencies change for texts longer than those trained on: the ways in use, in float64 where no length is asked for."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


def base_frequencies(size: int, base: float) -> np.ndarray:
    """base^(-2i / size) for the size / 2 pairs of channels."""
    return base ** (-np.arange(0, size, 2, dtype=np.float64) / size)


def llama3(frequencies: np.ndarray, *, factor: float, low: float, high: float, original: int) -> np.ndarray:
    """Divided by `factor` below `low` turns in `original` tokens, kept above `high`, and linear in the turns between."""
    turns = original * frequencies / (2 * np.pi)
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return frequencies * (kept + (1 - kept) / factor)


def yarn(frequencies: np.ndarray, *, base: float, factor: float, original: int, fast: float, slow: float, truncate: bool) -> np.ndarray:
    """Kept in channels of `fast` turns or more in `original` tokens, divided by `factor` from `slow` turns on, a ramp between."""
    pairs = len(frequencies)

    def channel(turns: float) -> float:
        return 2 * pairs * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = channel(fast), channel(slow)
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * pairs - 1)
    divided = np.clip((np.arange(pairs) - first) / (last - first or 0.001), 0, 1)
    return frequencies * (1 - divided + divided / factor)


def yarn_attention_factor(factor: float, mscale: float | None = None, mscale_all_dim: float | None = None) -> float:
    """0.1 ln(factor) + 1, or the ratio of two such numbers whose logarithms are weighted."""

    def grown(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0

    return grown(mscale) / grown(mscale_all_dim) if mscale and mscale_all_dim else grown(1)


def dynamic(positions_BT: Any, size: int, *, base: float, factor: float, original: int) -> Any:
    """float32 [size / 2]: frequencies of a base that grows with the longest row, once that is longer than `original`."""
    length = ops.cast(ops.maximum(ops.max(positions_BT) + 1, original), "float32")
    grown = base * (factor * length / original - (factor - 1)) ** (size / (size - 2))
    return grown ** ops.convert_to_tensor((-np.arange(0, size, 2) / size).astype(np.float32))


def longrope(positions_BT: Any, frequencies: np.ndarray, *, short: Sequence[float], long: Sequence[float], original: int) -> Any:
    """float32 [size / 2]: divided by the `long` factors where a row is longer than `original`, else by the `short` ones."""
    either = [ops.convert_to_tensor((frequencies / np.asarray(factors)).astype(np.float32)) for factors in (short, long)]
    return ops.where(ops.max(positions_BT) + 1 > original, either[1], either[0])
