"""One number for a text or a pair of texts."""

import numpy as np

from lmkit.tasks.rows import Examples, TokenRows


def features(rows: TokenRows, *, examples: Examples) -> dict[str, np.ndarray]:
    """labels [B] float32: the value of the record; weights [B] float32: 1 for every row that is no padding."""
    return {"labels": examples.of("values", rows).astype(np.float32), "weights": rows.real}
