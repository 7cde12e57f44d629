"""Rows of a decoder that answers texts: text, separator and answer read on as one, and only the answer is learned."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lmkit.data.build import build_batches
from lmkit.data.cache import Cache
from lmkit.data.prompts import most_read, prompt_rows, prompting
from lmkit.data.spec import Data
from lmkit.tasks.spec import AnyTask, Seq2seq
from lmkit.text.template import wrapped

Make = Callable[..., Cache]
TEXTS, ANSWERS = [3, 40, 7, 100, 1, 12, 5, 33], [4, 8, 70, 2, 1, 12, 30, 50]
TASKS: dict[str, AnyTask] = {"write": Seq2seq(separator="w9")}
BEFORE, WIDTH = 20_000, 32


def test_the_answer_alone_is_learned_with_the_end_behind_it(tokenizer: Any, cache: Make) -> None:
    answers = cache(ANSWERS, first=BEFORE)
    source = replace(cache(TEXTS), more={"target_tokens": answers.tokens, "target_documents": answers.documents})
    data = Data.model_validate({"train": {"jsonl": "a.jsonl", "columns": {"text": "a", "target": "b"}}, "max_length": WIDTH})
    batches = build_batches(data, TASKS, tokenizer, {"train": source}, seed=3, batch_size=4)
    seen = 0
    for batch in map(batches.train, range(batches.steps_per_epoch)):
        for row, real in enumerate(batch["segments"] > 0):
            tokens, learned = batch["tokens"][row][real], batch["write/weights"][row][real] > 0
            split = int(np.argmax(tokens >= BEFORE))
            document = int(np.searchsorted(answers.documents, tokens[split] - BEFORE, side="right")) - 1
            assert tokens[split - 1] == 9 and tokens[0] == int(source.documents[document]) + 5
            assert np.flatnonzero(learned).tolist() == list(range(split - 1, len(tokens)))
            assert batch["write/labels"][row][real][learned].tolist() == [*tokens[split:], tokenizer.eos]
            seen += 1
    assert seen == len(TEXTS)


@pytest.mark.parametrize("target_length", [4, 12, WIDTH])
def test_no_row_is_too_long_and_what_is_cut_is_what_prediction_cuts(target_length: int) -> None:
    template = prompting(wrapped(2, 3), [9, 9])
    first, second = np.repeat(np.arange(1, 40), 39), np.tile(np.arange(1, 40), 39)
    rows = prompt_rows(first, second, WIDTH, target_length, template)
    read, wrote = rows.length[0::2], rows.length[1::2]
    assert (read + wrote + 2 <= WIDTH).all() and (read >= 1).all() and (wrote >= 1).all() and (wrote <= target_length).all()
    assert (read >= np.minimum(first, most_read(WIDTH, target_length, template))).all()
    whole = first + np.minimum(second, target_length) + 2 <= WIDTH
    assert (read[whole] == first[whole]).all() and (wrote[whole] == np.minimum(second, target_length)[whole]).all()
