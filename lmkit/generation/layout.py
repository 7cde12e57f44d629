"""Prompts as arrays of few shapes, so that little is compiled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

MAX_ROWS = 32

Reason = Literal["length", "end", "stop"]


@dataclass
class Continuation:
    """What came after one prompt: ids without the end token, and why it ended; of a search, also its score."""

    ids: list[int]
    reason: Reason = "length"
    score: float | None = None


def bucket(length: int, smallest: int = 16) -> int:
    """The shortest compiled length >= `length`: powers of two and their three-halves, from `smallest` up."""
    size = smallest
    while size < length:
        size = max(size + 1, size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3)
    return size


def left_padded(windows: Sequence[Sequence[int]], smallest: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """tokens int32[B, P] and the slot [B] at which each window begins; rows beyond the windows are empty."""
    batch, length = bucket(len(windows), 1), bucket(max(map(len, windows)), smallest)
    tokens_BP, start_B = np.zeros((batch, length), np.int32), np.full(batch, length, np.int32)
    for row, window in enumerate(windows):
        start_B[row] = length - len(window)
        tokens_BP[row, start_B[row] :] = window
    return tokens_BP, start_B


def begun(prefix: Sequence[int], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """tokens int32[B, P] and starts [B] of rows that all begin with the same tokens, without padding."""
    return np.tile(np.asarray(prefix, np.int32), (batch, 1)), np.zeros(batch, np.int32)
