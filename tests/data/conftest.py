"""A small corpus in which every token is another id, so that each can be followed through any row."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tokenizers

from lmkit.data.cache import Cache
from lmkit.text.tokenizer import Tokenizer

ROLES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def counting_cache(lengths: Sequence[int], sentence: int = 7, first: int = 5, **columns: Any) -> Cache:
    """Documents of these lengths whose tokens are first, first + 1, ...; a sentence ends every `sentence` tokens."""
    documents = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    inner = [np.arange(a, b, sentence) for a, b in pairwise(documents)]
    tokens = np.arange(first, first + documents[-1]).astype(np.uint32)
    cache = Cache(tokens, documents, np.unique(np.concatenate([*inner, documents])), 0, "")
    places = {"files": ("corpus.txt",), "file": np.zeros(len(lengths), np.int32), "line": np.arange(1, len(lengths) + 1)}
    return replace(cache, **places, **columns)


@pytest.fixture(scope="session")
def words_tokenizer() -> Tokenizer:
    """30,000 words, one id each, and the roles as ids 0 to 4."""
    vocab = {piece: i for i, piece in enumerate(ROLES + [f"w{i}" for i in range(5, 30_000)])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="[UNK]"))
    backend.add_special_tokens(ROLES)
    return Tokenizer(backend)


@pytest.fixture
def tokenizer(words_tokenizer: Tokenizer) -> Tokenizer:
    return words_tokenizer


@pytest.fixture
def cache() -> Callable[..., Cache]:
    return counting_cache
