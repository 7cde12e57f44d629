"""Replaced-token detection (ELECTRA, section 2): a generator fills hidden places, and every token is judged to be the text's own or not."""

import numpy as np

from lmkit.tasks import masked_lm
from lmkit.tasks.masked_lm import Vocabulary
from lmkit.tasks.rows import TokenRows


def features(rows: TokenRows, *, vocabulary: Vocabulary, mask_rate: float) -> dict[str, np.ndarray]:
    """masked [B, T]: the tokens with the chosen ones hidden; where, hidden, shares [B, M]: their places, what stood there, and what
    each counts; labels [B, T]: 0, for nothing is replaced yet; weights [B, T]: 1 for all tokens.

    Tokens are chosen as in tasks/masked_lm.py. The shares of all rows add up to the weights of all, so that what is divided by these
    is a mean over the chosen tokens.
    """
    made = masked_lm.features(rows, vocabulary=vocabulary, mask_rate=mask_rate, whole_word=False)
    chosen, where = made["weights"], made["where"]
    masked = rows.tokens.copy()
    row, place = np.nonzero(chosen)
    masked[row, where[row, place]] = vocabulary.mask
    weights = (rows.segments != 0).astype(np.float32)
    share = np.float32(weights.sum() / max(chosen.sum(), 1.0))
    words = {"masked": masked, "where": where, "hidden": made["labels"], "shares": chosen * share}
    return words | {"labels": np.zeros_like(rows.tokens), "weights": weights}
