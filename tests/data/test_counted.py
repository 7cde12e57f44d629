"""Which tokens of a causal row are learned: said in characters of a document, kept for tokens, true in any row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.data.annotations import Counted
from lmkit.data.build import build_batches
from lmkit.data.columns import ColumnWriter
from lmkit.data.document import Document
from lmkit.data.spec import Data
from lmkit.tasks.spec import AnyTask, CausalLm

Make = Callable[..., Any]
TEXT = "ask. answer? ask! answer"
TOKENS = [(0, 3), (3, 4), (5, 11), (11, 12), (13, 16), (16, 17), (17, 18), (18, 24)]


def column(folder: Path, *spans: tuple[int, int]) -> list[int]:
    """What the annotation keeps of one document."""
    writer = ColumnWriter(folder / "counted.npy", np.int8)
    Counted(lambda name, dtype: writer).add(Document(TEXT, counted=spans), np.array(TOKENS), np.zeros((0, 2)))
    writer.finish()
    return np.load(folder / "counted.npy").tolist()


def test_a_token_is_counted_where_the_one_behind_it_touches_what_is_learned(tmp_path: Path) -> None:
    assert column(tmp_path, (4, 12), (18, 24)) == [0, 1, 1, 0, 0, 0, 1, 0]
    assert column(tmp_path, (7, 8)) == [0, 1, 0, 0, 0, 0, 0, 0]
    assert column(tmp_path) == [0] * 8


def test_the_end_of_a_document_is_one_more_character(tmp_path: Path) -> None:
    assert column(tmp_path, (18, 25)) == [0, 0, 0, 0, 0, 0, 1, 1]
    assert column(tmp_path, (24, 25)) == [0, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("packing", [True, False])
def test_packed_and_cut_rows_learn_just_the_counted_tokens(tokenizer: Any, cache: Make, packing: bool) -> None:
    lengths = [30, 4, 100, 17, 9, 2, 61, 12]
    size = sum(lengths)
    counted = np.random.default_rng(1).integers(0, 2, size).astype(np.int8)
    chats, plain = cache(lengths, more={"counted": counted}), cache([20, 21], first=5000)
    tasks: dict[str, AnyTask] = {"lm": CausalLm()}
    words = {"train": {"chats": {"text": "a.txt"}, "plain": {"text": "b.txt"}}, "max_length": 32, "packing": packing}
    batches = build_batches(Data.model_validate(words), tasks, tokenizer, {"chats": chats, "plain": plain}, seed=1, batch_size=2)
    last = np.isin(np.arange(size), chats.documents[1:] - 1)
    following = np.where(last, tokenizer.eos, chats.tokens + 1)
    expected = np.concatenate([following[counted > 0], np.append(np.arange(5001, 5041), tokenizer.eos), [tokenizer.eos]])
    expected = np.sort(np.setdiff1d(expected, [5020]))
    made = [batches.train(step) for step in range(batches.steps_per_epoch)]
    learned = np.concatenate([batch["lm/labels"][batch["lm/weights"] > 0] for batch in made])
    np.testing.assert_array_equal(np.unique(learned), np.unique(expected))
    assert np.sum(learned == tokenizer.eos) == 2 + counted[last].sum()
    assert sum(float(batch["lm/denominator"]) for batch in made) == counted.sum() + 41
