"""Rows to train on have the special tokens of the tokenizer at hand, and are those that are made to predict."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lmkit.data.build import build_batches
from lmkit.data.spec import Data
from lmkit.errors import SpecError
from lmkit.tasks.spec import Classification, MaskedLm, NextSentence, Windowed
from lmkit.text.template import Frame, Template, bare, repeated, wrapped
from lmkit.text.tokenizer import Tokenizer

Make = Callable[..., Any]
CLS, SEP, END = (2, 0), (3, 0), (1, 0)
TEMPLATES = {
    "bert": wrapped(2, 3),
    "roberta": Template(Frame(((CLS,), (SEP,)), (0,)), Frame(((CLS,), (SEP, SEP), (SEP,)), (0, 0))),
    "t5": Template(Frame(((), (END,)), (0,)), Frame(((), (END,), (END,)), (0, 0))),
    "llama": repeated(2, -1),
    "gpt2": bare(),
}


@pytest.fixture(params=TEMPLATES)
def tokenizer(words_tokenizer: Tokenizer, request: Any) -> Tokenizer:
    return Tokenizer(words_tokenizer._backend, template=TEMPLATES[request.param])


def data(**words: Any) -> Data:
    return Data.model_validate({"train": {"text": "corpus.txt"}, **words})


def texts(tokens: np.ndarray, edges: np.ndarray) -> list[np.ndarray]:
    return [tokens[a:b].astype(np.int32) for a, b in pairwise(edges)]


def labelled(cache: Make, labels: list[int], lengths: list[int], **more: np.ndarray) -> Any:
    return cache(lengths, more={"labels": np.array(labels, np.int32), **more}, names={"labels": ("a", "b")})


@pytest.mark.parametrize("truncate", ["end", "start", "head_tail"])
@pytest.mark.parametrize("paired", [False, True])
def test_rows_to_train_on_are_those_to_predict(tokenizer: Tokenizer, cache: Make, paired: bool, truncate: str) -> None:
    other = {"pair_tokens": np.arange(900, 1000, dtype=np.uint16), "pair_documents": np.array([0, 3, 33, 60, 61])} if paired else {}
    source = labelled(cache, [0, 1, 0, 1], [4, 40, 5, 30], **other)
    task = Classification(truncate=truncate)
    batches = build_batches(data(max_length=16), {"c": task}, tokenizer, {"train": source}, source, seed=1, batch_size=2)
    second = texts(other["pair_tokens"], other["pair_documents"]) if paired else [None] * 4
    pairs = zip(texts(source.tokens, source.documents), second, strict=True)
    rows = [tokenizer.template.row(a, b, max_length=16, truncate=truncate) for a, b in pairs]
    found = [
        [batch[key][row][batch["segments"][row] > 0].tolist() for key in ("tokens", "token_types", "positions")]
        for batch in batches.validation
        for row in range(2)
    ]
    assert sorted(found) == sorted([row.ids.tolist(), row.types.tolist(), list(range(len(row.ids)))] for row in rows)


@pytest.mark.parametrize("paired", [False, True])
def test_windows_cover_a_long_text_and_each_has_its_label(tokenizer: Tokenizer, cache: Make, paired: bool) -> None:
    other = {"pair_tokens": np.arange(900, 1000, dtype=np.uint16), "pair_documents": np.array([0, 3, 33, 60, 61])} if paired else {}
    source = labelled(cache, [0, 1, 0, 1], [4, 40, 5, 30], **other)
    task = Classification(windows=Windowed(stride=3))
    batches = build_batches(data(max_length=16), {"c": task}, tokenizer, {"train": source}, source, seed=1, batch_size=2)
    tokens, edges = (other["pair_tokens"], other["pair_documents"]) if paired else (source.tokens, source.documents)
    seen: list[int] = []
    for batch in batches.validation:
        assert (batch["segments"] > 0).sum(axis=1).max() <= 16
        for row, label, weight in zip(batch["tokens"], batch["c/labels"], batch["c/weights"], strict=True):
            if weight:
                here = np.intersect1d(row, tokens)
                record = np.searchsorted(edges, np.searchsorted(tokens, here[-1]), side="right") - 1
                assert label == record % 2
                seen += here.tolist()
    assert set(seen) >= set(tokens[: edges[-1]].tolist()) and len(seen) > len(set(seen))


def test_each_document_of_a_packed_row_has_the_frame_of_one_text(tokenizer: Tokenizer, cache: Make) -> None:
    lengths = [3, 40, 7, 100, 1, 12, 5, 61, 33, 9, 20, 18]
    batches = build_batches(
        data(max_length=32), {"m": MaskedLm()}, tokenizer, {"train": cache(lengths)}, seed=1, batch_size=2
    )  # fmt: skip
    before, behind = ([index for index, _ in gap] for gap in tokenizer.template.single.gaps)
    for step in range(batches.steps_per_epoch):
        batch = batches.train(step)
        for tokens, segments, positions in zip(batch["tokens"], batch["segments"], batch["positions"], strict=True):
            for segment in np.unique(segments[segments > 0]):
                row = tokens[segments == segment].tolist()
                assert row[: len(before)] == before and row[len(row) - len(behind) :] == behind
                assert positions[segments == segment].tolist() == list(range(len(row)))


def test_two_texts_that_nothing_parts_cannot_be_told_apart(words_tokenizer: Tokenizer, cache: Make) -> None:
    made = Tokenizer(words_tokenizer._backend, template=bare())
    with pytest.raises(SpecError, match="nsp needs a token between two texts"):
        build_batches(data(max_length=32), {"nsp": NextSentence()}, made, {"train": cache([30] * 9)}, seed=1, batch_size=2)
