"""Vectors of sentences: two texts in a row, which are near each other or as near as their record's value says."""

import numpy as np

from lmkit.errors import DataError, Problem
from lmkit.tasks.rows import Examples, TokenRows


def features(rows: TokenRows, *, cosines: np.ndarray | None) -> dict[str, np.ndarray]:
    """labels float32 [B]: the cosine of both texts, which is that of the row's record, or 1 where records have none; weights float32 [B]:
    1 for every row that is no padding. The texts are segments 1 and 2.
    """
    labels = rows.real if cosines is None else np.where(rows.real > 0, cosines[rows.mark], 0)
    return {"labels": labels.astype(np.float32), "weights": rows.real}


def cosines(examples: Examples, values: tuple[float, float], key: str) -> np.ndarray:
    """The cosine that each record's value stands for: 0 and 1 for these two `values`.

    Raises DataError, with the place of the record, for what no cosine is.
    """
    low, high = values
    given = examples.values["values"]
    found = (given - low) / (high - low)
    far = np.flatnonzero(np.abs(found) > 1)
    if len(far):
        what = f"{given[far[0]]:g} would stand for a cosine of {found[far[0]]:g}, and those are -1 to 1"
        fix = f"write values: [{given.min():g}, {given.max():g}]"
        raise DataError(Problem(f"{what}; {fix}", f"{key}.values", examples.where(int(far[0]))))
    return np.asarray(found)
