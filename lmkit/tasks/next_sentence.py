"""Next-sentence prediction (BERT, section 3.1): label 0 where B follows A, 1 where it comes from another document."""

import numpy as np

from lmkit.tasks.rows import TokenRows

LABELS = ("next", "random")


def features(rows: TokenRows) -> dict[str, np.ndarray]:
    """labels [B], weights [B] float32: 1 for every row that is no padding."""
    return {"labels": np.maximum(rows.mark, 0).astype(np.int32), "weights": rows.real}
