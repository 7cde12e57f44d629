"""Rows of two texts that are read apart: each is a segment of its own, as if it stood in a row alone."""

import numpy as np

from lmkit.data.rows import Rows
from lmkit.text.template import Template, longest_first


def twin_rows(first: np.ndarray, second: np.ndarray | None, width: int, template: Template) -> Rows:
    """One row a record of at most `width` cells: span i, and span count + i for its second text, of these lengths.

    Without second texts it is span i again. The longer of the two is cut first, at its end.
    """
    count, other = len(first), first if second is None else second
    length = np.stack(longest_first(first, other, width - 2 * template.single.extra), 1).ravel().astype(np.int64)
    document = np.arange(count)[:, None] + np.array([0, 0 if second is None else count])
    return Rows(np.arange(count + 1) * 2, document.ravel(), np.zeros(2 * count, np.int64), length, np.arange(count))
