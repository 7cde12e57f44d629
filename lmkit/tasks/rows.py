"""What a task sees of a batch: rows of tokens before anything is hidden or labelled."""

from dataclasses import dataclass

import numpy as np


@dataclass
class TokenRows:
    """B rows of T cells, int32 unless said.

    `segments` is 0 at padding; `text` (bool) marks the cells that hold text, `first` (bool) those that open a piece of it;
    `following` [B, T] is the token after each cell (causal rows only); `label` [B] a pair's or record's label (-1 none);
    `real` [B] float32 is 0 for rows that only fill the batch; `row_key` [B] uint32.
    """

    tokens: np.ndarray
    segments: np.ndarray
    positions: np.ndarray
    token_types: np.ndarray
    row_key: np.ndarray
    real: np.ndarray
    label: np.ndarray
    text: np.ndarray
    first: np.ndarray
    following: np.ndarray | None = None
