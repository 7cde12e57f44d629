"""Rows of two texts that are read apart: two of a record, or one two times."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.data.batches import Batches
from lmkit.data.build import build_batches
from lmkit.data.cache import Cache, open_cache
from lmkit.data.spec import Data, JsonLines
from lmkit.errors import DataError
from lmkit.tasks.spec import SentenceEmbedding
from lmkit.text.build import train_tokenizer
from lmkit.text.spec import Character
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


def test_a_value_that_no_cosine_stands_for_is_named_with_its_place_and_the_word_to_write(tmp_path: Path) -> None:
    records = [{"a": "one", "b": "two", "c": value} for value in (0.5, 1, 0, 3.8, 5)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    source = JsonLines(jsonl=("a.jsonl",), columns={"text": "a", "text_pair": "b", "value": "c"})
    letters = train_tokenizer(Character(), ["one two"])
    made = open_cache(source, letters, directory=tmp_path / "cache", base=tmp_path)
    data = Data(train={"train": source}, max_length=32)

    def batches(values: tuple[float, float]) -> Batches:
        task = SentenceEmbedding(loss="cosine", values=values)
        return build_batches(data, {"near": task}, letters, {"train": made}, seed=1, batch_size=5)

    what = r"a.jsonl:4: tasks.near.values: 3.8 would stand for a cosine of 3.8, and those are -1 to 1; write values: \[0, 5\]"
    with pytest.raises(DataError, match=what):
        batches((0.0, 1.0))
    assert batches((0.0, 5.0)).train(0)["near/labels"].max() == 1


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
