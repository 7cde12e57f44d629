"""Rows of two sides: the text that an encoder reads, and the one that the decoder beside it writes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lmkit.data.build import build_batches
from lmkit.data.cache import Cache
from lmkit.data.spec import Data
from lmkit.errors import DataError
from lmkit.tasks.seq2seq import written
from lmkit.tasks.spec import AnyTask, Seq2seq
from lmkit.text.template import Frame, Template, wrapped

Make = Callable[..., Cache]
TEXTS, TARGETS = [3, 40, 7, 100, 1, 12, 5, 33, 9, 20, 18, 6], [4, 8, 70, 2, 1, 12, 30, 3, 11, 5, 6, 60]
TASKS: dict[str, AnyTask] = {"write": Seq2seq()}
BEFORE = 20_000  # the first id of targets


def two_texts(cache: Make) -> Cache:
    targets = cache(TARGETS, first=BEFORE)
    return replace(cache(TEXTS), more={"target_tokens": targets.tokens, "target_documents": targets.documents})


def batches_of(tokenizer: Any, source: Cache, start: int = 2, **words: Any) -> Any:
    data = Data.model_validate({"train": {"jsonl": "a.jsonl", "columns": {"text": "a", "target": "b"}}, "max_length": 48, **words})
    return build_batches(data, TASKS, tokenizer, {"train": source}, seed=3, batch_size=4, start=start)


def rows_of(batches: Any) -> list[dict[str, np.ndarray]]:
    made = [batches.train(step) for step in range(batches.steps_per_epoch)]
    return [
        {key: array[row] for key, array in batch.items() if array.ndim}
        for batch in made
        for row in range(4)
        if batch["segments"][row].any()
    ]


def test_each_text_stands_beside_its_own_target_and_both_are_cut_for_themselves(tokenizer: Any, cache: Make) -> None:
    source = two_texts(cache)
    batches = batches_of(tokenizer, source, max_target_length=24)
    seen = set()
    for row in rows_of(batches):
        text, labels = row["tokens"][row["segments"] > 0], row["write/labels"][row["write/weights"] > 0]
        assert text[0] == tokenizer.bos and text[-1] == labels[-1] == tokenizer.eos
        document = int(np.searchsorted(source.documents, text[1] - 5, side="right")) - 1
        seen.add(document)
        assert text[1:-1].tolist() == list(
            range(int(source.documents[document]) + 5, int(source.documents[document]) + 5 + min(TEXTS[document], 46))
        )
        begin = int(source.more["target_documents"][document]) + BEFORE
        assert labels[:-1].tolist() == list(range(begin, begin + min(TARGETS[document], 23)))
    assert seen == set(range(12))


def test_the_decoder_reads_its_first_token_and_then_the_labels_but_the_last(tokenizer: Any, cache: Make) -> None:
    for row in rows_of(batches_of(tokenizer, two_texts(cache))):
        count = int(row["write/weights"].sum())
        assert row["decoder/tokens"][:count].tolist() == [2, *row["write/labels"][: count - 1]]
        assert row["decoder/segments"].tolist() == [1] * count + [0] * (len(row["decoder/segments"]) - count)
        assert row["decoder/positions"][:count].tolist() == list(range(count))
        assert (row["decoder/tokens"][count:] == tokenizer.pad).all()


def test_a_frame_that_begins_with_the_first_token_is_written_behind_it(tokenizer: Any) -> None:
    bos, eos = ((tokenizer.bos, 0),), ((tokenizer.eos, 0),)
    assert wrapped(2, 3).behind(2).written == Frame(((), ((3, 0),)), (0,))
    assert wrapped(2, 3).behind(3).written == Frame((((2, 0),), ((3, 0),)), (0,))
    t5 = Template(Frame(((), eos), (0,)), Frame(((), eos, eos), (0, 0)))
    assert t5.behind(0).written == t5.single and bos


def test_few_shapes_occur_and_the_decoder_is_never_wider_than_the_encoder_or_its_own_limit(tokenizer: Any, cache: Make) -> None:
    batches = batches_of(tokenizer, two_texts(cache), max_target_length=24, buckets=3)
    shapes = {(b["tokens"].shape[1], b["decoder/tokens"].shape[1]) for b in map(batches.train, range(9))}
    assert len(shapes) <= 3
    assert all(read <= 48 and wrote == min(read, 24) for read, wrote in shapes)
    (described,) = batches.describe()["train"]
    assert described["tokens"] == sum(int(row["segments"].sum() + row["write/weights"].sum()) for row in rows_of(batches))


def test_a_source_without_targets_is_refused(tokenizer: Any, cache: Make) -> None:
    with pytest.raises(DataError, match="source train has no target"):
        batches_of(tokenizer, cache(TEXTS))


def test_rows_that_only_fill_the_batch_read_and_learn_nothing() -> None:
    labels, real = np.full((2, 3), 9, np.int32), np.array([[True, True, False], [False] * 3])
    made = written(labels, real, start=1)
    assert made["decoder/tokens"].tolist() == [[1, 9, 9], [9, 9, 9]]
    assert made["weights"].tolist() == made["decoder/segments"].tolist() == [[1, 1, 0], [0, 0, 0]]
