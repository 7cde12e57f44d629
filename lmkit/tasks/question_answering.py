"""Extractive question answering (SQuAD): where the answer begins in a row, and where it ends."""

import numpy as np

from lmkit.tasks.rows import Examples, TokenRows


def features(rows: TokenRows, *, examples: Examples) -> dict[str, np.ndarray]:
    """labels [B, 2]: cells of the answer's first and last token, both the row's first cell where it does not hold the answer whole;
    weights [B] float32: 1 for every row that is no padding.
    """
    assert rows.place is not None, "question_answering reads rows of the windows layout"
    text = rows.text & (np.cumsum(rows.first, axis=1) == 2)
    ends = [text & (rows.place == examples.of(column, rows)[:, None]) for column in ("answer_first", "answer_last")]
    whole = ends[0].any(axis=1) & ends[1].any(axis=1)
    labels = np.stack([np.where(whole, end.argmax(axis=1), 0) for end in ends], axis=1)
    return {"labels": labels.astype(np.int32), "weights": rows.real}
