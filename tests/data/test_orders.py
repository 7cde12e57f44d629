"""Rows for telling the order of neighbouring segments: one text without a gap, read as it stands or the rest of it first."""

from collections.abc import Callable

import numpy as np
import pytest

from lmkit.data.build import build_batches
from lmkit.data.cache import Cache
from lmkit.data.spec import Data
from lmkit.tasks.spec import AnyTask, MaskedLm, SentenceOrder
from lmkit.text.tokenizer import Tokenizer

Make = Callable[..., Cache]


@pytest.mark.parametrize("documents", [[400], [90, 60, 200]])
def test_half_of_the_rows_are_exchanged_and_none_has_a_gap(tokenizer: Tokenizer, cache: Make, documents: list[int]) -> None:
    data = Data.model_validate({"train": {"text": "*.txt"}, "max_length": 48})
    batches = build_batches(data, {"order": SentenceOrder()}, tokenizer, {"train": cache(documents)}, seed=1, batch_size=4)
    labels = []
    for step in range(batches.steps_per_epoch):
        batch = batches.train(step)
        for row in range(4):
            if not batch["order/weights"][row]:
                continue
            text = batch["tokens"][row] >= 5
            first, second = (batch["tokens"][row][text & (batch["token_types"][row] == kind)] for kind in (0, 1))
            labels.append(int(batch["order/labels"][row]))
            both = [second, first] if labels[-1] else [first, second]
            whole = np.concatenate(both)
            assert len(first) > 0 and len(second) > 0
            np.testing.assert_array_equal(whole, np.arange(whole[0], whole[0] + len(whole)))
    assert sum(labels) == len(labels) // 2


def test_masked_tokens_share_its_rows(tokenizer: Tokenizer, cache: Make) -> None:
    data = Data.model_validate({"train": {"text": "*.txt"}, "max_length": 48})
    tasks: dict[str, AnyTask] = {"mlm": MaskedLm(), "order": SentenceOrder()}
    batches = build_batches(data, tasks, tokenizer, {"train": cache([400])}, seed=1, batch_size=4)
    assert batches.tasks_of(0) == ("mlm", "order")
