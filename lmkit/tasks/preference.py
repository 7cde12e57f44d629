"""Two answers to a prompt, of which the first is the better one."""

import numpy as np

from lmkit.tasks.rows import TokenRows


def features(rows: TokenRows) -> dict[str, np.ndarray]:
    """labels [B, T]: the token after each cell; counted [B, T] float32: 1 where an answer is to be predicted; weights [B] float32:
    1 for every row that is no padding; record int32 [B]: the number of the row's record. The answers are segments 1 and 2.
    """
    assert rows.following is not None, "preferences are read in rows of their own layout"
    counted = rows.text & (rows.columns["counted"] > 0)
    record = np.maximum(rows.mark, 0).astype(np.int32)
    return {"labels": rows.following, "counted": counted.astype(np.float32), "weights": rows.real, "record": record}
