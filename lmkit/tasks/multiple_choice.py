"""The right one of several texts that could go with a text."""

import numpy as np

from lmkit.tasks.rows import Examples, TokenRows


def features(rows: TokenRows, *, examples: Examples) -> dict[str, np.ndarray]:
    """labels int32 [B]: the place of the right choice; choices float32 [B, C]: 1 for each choice of the record, where C is the most
    that one has; weights float32 [B]: 1 for every row that is no padding. Choice i is segment i + 1.
    """
    places = np.array([*map(int, examples.names["labels"]), 0], np.int32)
    counts = np.diff(examples.values["choice_documents"])
    choices = np.arange(counts.max(initial=2)) < np.where(rows.real > 0, counts[rows.mark], 1)[:, None]
    labels = np.where(rows.real > 0, places[examples.of("labels", rows)], 0)
    return {"labels": labels.astype(np.int32), "choices": choices.astype(np.float32), "weights": rows.real}
