"""A small corpus in which every token is another id, so that each can be followed through any row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest


@dataclass
class PlainCache:
    tokens: np.ndarray
    documents: np.ndarray
    sentences: np.ndarray
    pair_tokens: np.ndarray | None = None
    pair_documents: np.ndarray | None = None
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()


class PlainTokenizer:
    """Ids 0 to 4 are the roles, the others stand for one byte each; every third begins a word."""

    pad, unk, bos, eos, mask = range(5)
    specials = frozenset(range(5))

    def __init__(self, vocab_size: int = 70_000) -> None:
        self.vocab_size = vocab_size
        self.byte_length = (np.arange(vocab_size) >= 5).astype(np.int32)
        self.word_start = np.arange(vocab_size) % 3 == 0

    def require(self, role: str, purpose: str) -> int:
        return getattr(self, role)


def plain_cache(lengths: Sequence[int], sentence: int = 7, **columns: Any) -> PlainCache:
    documents = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    inner = [np.arange(a, b, sentence) for a, b in pairwise(documents)]
    return PlainCache(
        np.arange(5, 5 + documents[-1]).astype(np.uint32), documents, np.unique(np.concatenate([*inner, documents])), **columns
    )


@pytest.fixture
def tokenizer() -> PlainTokenizer:
    return PlainTokenizer()


@pytest.fixture
def cache() -> Callable[..., PlainCache]:
    return plain_cache
