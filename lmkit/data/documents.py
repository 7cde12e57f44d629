"""The documents of a cache as spans of its tokens, and what is held out of them for validation."""

from dataclasses import dataclass

import numpy as np

from lmkit.data.cache import Cache
from lmkit.data.order import permutation
from lmkit.errors import DataError, Problem

HOLDOUT_SEED = 0x484F4C44  # not the run's seed: every run on these documents holds out the same ones, fine-tuning included


@dataclass(frozen=True)
class Documents:
    """Documents of one source: `number[i]` in the cache, tokens begin[i]:end[i] of its token array (ascending)."""

    name: str
    cache: Cache
    number: np.ndarray
    begin: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.number)

    @property
    def lengths(self) -> np.ndarray:
        return self.end - self.begin


def all_documents(name: str, cache: Cache) -> Documents:
    """Every document of the cache, empty ones included."""
    edges = np.asarray(cache.documents, np.int64)
    return Documents(name, cache, np.arange(len(edges) - 1), edges[:-1], edges[1:])


def hold_out(documents: Documents, share: float) -> tuple[Documents, Documents]:
    """(for training, for validation): `share` of the documents, at least one; of an only document, its last tokens.

    The choice depends on the number of documents alone. Raises DataError where nothing would be left on one side.
    """
    d = documents
    if len(d) == 1:
        split = d.begin + np.round(d.lengths * (1 - share)).astype(np.int64)
        if split[0] <= d.begin[0] or split[0] >= d.end[0]:
            raise DataError(Problem(f"source {d.name} has {d.lengths[0]} tokens, too few to hold out {share:g}", "data.validation.holdout"))
        return Documents(d.name, d.cache, d.number, d.begin, split), Documents(d.name, d.cache, d.number, split, d.end)
    if not len(d):
        raise DataError(Problem(f"source {d.name} has no documents to hold out from", "data.validation.holdout"))
    count = min(max(1, round(share * len(d))), len(d) - 1)
    held = permutation(HOLDOUT_SEED, 0, len(d)) < count
    return _only(d, ~held), _only(d, held)


def _only(d: Documents, keep: np.ndarray) -> Documents:
    return Documents(d.name, d.cache, d.number[keep], d.begin[keep], d.end[keep])
