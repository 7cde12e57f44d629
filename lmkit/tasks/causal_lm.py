"""Causal language modelling: each token is predicted from those before it."""

import numpy as np

from lmkit.tasks.rows import TokenRows


def features(rows: TokenRows) -> dict[str, np.ndarray]:
    """labels [B, T]: the token after each cell (a document's last is followed by eos); weights [B, T] float32: 1 at text.

    Where the source says which tokens are counted, 1 only where such a one is to be predicted.
    """
    assert rows.following is not None, "causal_lm reads rows of the causal layout"
    counted = rows.text & (rows.columns["counted"] > 0) if "counted" in rows.columns else rows.text
    return {"labels": rows.following, "weights": counted.astype(np.float32)}
