"""Rows of two texts that are read apart: two of a record, or one two times."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lmkit.data.build import build_batches
from lmkit.data.cache import Cache
from lmkit.data.spec import Data
from lmkit.tasks.spec import SentenceEmbedding
from lmkit.text.tokenizer import Tokenizer

LENGTHS, PAIRS = [5, 9, 3, 12], [4, 2, 8, 12]


def rows(tokenizer: Tokenizer, source: Cache, task: SentenceEmbedding, max_length: int = 32) -> dict[str, np.ndarray]:
    columns = {"text": "a", "text_pair": "b", "value": "c"}
    data = Data.model_validate({"train": {"jsonl": "a.jsonl", "columns": columns}, "max_length": max_length})
    return build_batches(data, {"near": task}, tokenizer, {"train": source}, seed=1, batch_size=4).train(0)


def paired(cache: Callable[..., Cache], **more: Any) -> Cache:
    edges = np.concatenate([[0], np.cumsum(PAIRS)])
    tokens = np.arange(100, 100 + edges[-1], dtype=np.uint32)
    return cache(LENGTHS, more={"pair_tokens": tokens, "pair_documents": edges, **more})


def texts(batch: dict[str, np.ndarray], segment: int) -> list[list[int]]:
    return [row[here == segment].tolist() for row, here in zip(batch["tokens"], batch["segments"], strict=True)]


def test_both_texts_stand_as_if_each_were_alone(tokenizer: Tokenizer, cache: Callable[..., Cache]) -> None:
    source = paired(cache, values=np.array([0.0, 1.0, 2.5, 5.0]))
    batch = rows(tokenizer, source, SentenceEmbedding(loss="cosine", values=(0.0, 5.0)))
    begin, other = np.cumsum([5, *LENGTHS]), np.cumsum([100, *PAIRS])
    expected = {
        (first, second): value for first, second, value in zip(begin[:-1].tolist(), other[:-1].tolist(), [0.0, 0.2, 0.5, 1.0], strict=True)
    }
    for i, (first, second) in enumerate(zip(texts(batch, 1), texts(batch, 2), strict=True)):
        assert batch["near/labels"][i] == np.float32(expected[first[1], second[1]])
        for text, segment in ((first, 1), (second, 2)):
            assert (text[0], text[-1]) == (2, 3)
            assert text[1:-1] == list(range(text[1], text[1] + len(text) - 2))
            places = batch["positions"][i][batch["segments"][i] == segment]
            np.testing.assert_array_equal(places, np.arange(len(text)))
    assert not batch["token_types"].any()


def test_simcse_reads_a_text_two_times(tokenizer: Tokenizer, cache: Callable[..., Cache]) -> None:
    batch = rows(tokenizer, cache(LENGTHS), SentenceEmbedding(loss="simcse"))
    assert texts(batch, 1) == texts(batch, 2)
    assert sorted(len(text) - 2 for text in texts(batch, 1)) == sorted(LENGTHS)


def test_the_longer_text_is_cut_first(tokenizer: Tokenizer, cache: Callable[..., Cache]) -> None:
    batch = rows(tokenizer, paired(cache), SentenceEmbedding(), max_length=16)
    lengths = {text[1]: len(text) - 2 for text in [*texts(batch, 1), *texts(batch, 2)]}
    begin, other = np.cumsum([5, *LENGTHS]), np.cumsum([100, *PAIRS])
    assert [lengths[each] for each in begin[:-1].tolist()] == [5, 9, 3, 6]
    assert [lengths[each] for each in other[:-1].tolist()] == [4, 2, 8, 6]
