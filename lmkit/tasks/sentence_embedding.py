"""Vectors of sentences: two texts in a row, which are near each other or as near as their record's value says."""

import numpy as np

from lmkit.tasks.rows import Examples, TokenRows


def features(rows: TokenRows, *, examples: Examples, values: tuple[float, float]) -> dict[str, np.ndarray]:
    """labels float32 [B]: the cosine of both texts, 0 and 1 for these two values, or 1 where records have none; weights float32 [B]: 1
    for every row that is no padding. The texts are segments 1 and 2.
    """
    low, high = values
    labels = (examples.of("values", rows) - low) / (high - low) if "values" in examples.values else rows.real
    return {"labels": np.where(rows.real > 0, labels, 0).astype(np.float32), "weights": rows.real}
