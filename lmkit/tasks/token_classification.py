"""One label for each word of a text, learned at the word's first token."""

import numpy as np

from lmkit.tasks.rows import TokenRows


def features(rows: TokenRows, *, table: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """labels [B, T] = table[tag of the word], weights [B, T] float32: weights[label] at the first token of each word."""
    labels = table[rows.columns["tags"]]
    return {"labels": np.maximum(labels, 0), "weights": np.where(labels >= 0, weights[labels], np.float32(0))}
