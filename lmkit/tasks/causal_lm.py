"""Causal language modelling: each token is predicted from those before it."""

import numpy as np

from lmkit.tasks.rows import TokenRows


def features(rows: TokenRows) -> dict[str, np.ndarray]:
    """labels [B, T]: the token after each cell (a document's last is followed by eos); weights [B, T] float32: 1 at text."""
    assert rows.following is not None, "causal_lm reads rows of the causal layout"
    return {"labels": rows.following, "weights": rows.text.astype(np.float32)}
