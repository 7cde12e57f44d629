"""Rows of two answers to one prompt: the better and the worse conversation, each a segment of its own."""

import numpy as np

from lmkit.data.documents import Documents
from lmkit.data.rows import Rows
from lmkit.text.template import longest_first

Sides = tuple[np.ndarray, np.ndarray]  # of the better and of the worse conversations


def preference_rows(documents: Documents, width: int) -> Rows:
    """One row a record of at most `width` tokens: span i, and span count + i for its worse answer, shortened by `shortened`."""
    second = documents.cache.text("pair")
    assert second is not None
    count, number = len(documents), documents.number
    begin, end = second[1][number], second[1][number + 1]
    prompts = (
        prompt_lengths(documents.cache.more["counted"], documents.begin, documents.end),
        prompt_lengths(documents.cache.more["pair_counted"], begin, end),
    )
    cut, kept = shortened((documents.lengths, end - begin), prompts, width)
    document = np.stack([np.arange(count), np.arange(count) + count], 1).ravel()
    return Rows(np.arange(count + 1) * 2, document, np.stack(cut, 1).ravel(), np.stack(kept, 1).ravel().astype(np.int64), np.arange(count))


def shortened(lengths: Sides, prompts: Sides, width: int) -> tuple[Sides, Sides]:
    """Where the better and the worse conversations of these lengths begin, and how many tokens of each stay, in rows of `width`.

    Where both are too long together, both lose as much of the prompt's beginning; where that is not enough, the longer one loses
    what is left of its own prompt, and then its answer's end.
    """
    over = np.maximum(lengths[0] + lengths[1] - width, 0)
    both = np.minimum((over + 1) // 2, np.minimum(*prompts) - 1)
    kept = longest_first(lengths[0] - both, lengths[1] - both, width)
    cut = [both + np.minimum(each - both - left, prompt - 1 - both) for each, left, prompt in zip(lengths, kept, prompts, strict=True)]
    return (cut[0], cut[1]), kept


def prompt_lengths(counted: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How many tokens of each text stand before its first one that is learned; at least 1."""
    behind = np.append(np.flatnonzero(counted), len(counted))
    return np.clip(behind[np.searchsorted(behind, begin)] - begin + 1, 1, np.maximum(end - begin, 1))
