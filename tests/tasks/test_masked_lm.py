"""Hiding tokens."""

import numpy as np
import pytest

from lmkit.tasks.masked_lm import Vocabulary, budget, features
from lmkit.tasks.rows import TokenRows

V = 1000
VOCABULARY = Vocabulary(4, np.arange(V) < 5, np.arange(5, V, dtype=np.int32), np.arange(V) % 3 == 0)


def token_rows(batch: int, length: int, seed: int = 0) -> TokenRows:
    """bos text eos padding, the rows of different lengths."""
    rng = np.random.default_rng(seed)
    real = rng.integers(3, length + 1, batch)
    tokens = rng.integers(5, V, (batch, length)).astype(np.int32)
    place = np.arange(length)
    text = (place > 0) & (place < real[:, None] - 1)
    tokens = np.where(text, tokens, np.where(place == 0, 2, np.where(place == real[:, None] - 1, 3, 0))).astype(np.int32)
    zeros = np.zeros_like(tokens)
    first = text & (place == 1)
    key = rng.integers(0, 2**32, batch, dtype=np.uint32)
    return TokenRows(tokens, zeros, zeros, zeros, key, np.ones(batch, np.float32), np.zeros(batch, np.int32), text, first)


def hide(rows: TokenRows, rate: float = 0.15, whole_word: bool = False) -> dict[str, np.ndarray]:
    return features(rows, vocabulary=VOCABULARY, mask_rate=rate, whole_word=whole_word)


@pytest.mark.parametrize("whole_word", [False, True])
def test_labels_are_the_tokens_that_stood_there_and_nothing_else_changes(whole_word: bool) -> None:
    rows = token_rows(64, 128)
    made = hide(rows, whole_word=whole_word)
    chosen = np.zeros(rows.tokens.shape, bool)
    for row in range(64):
        where = made["where"][row][made["weights"][row] > 0]
        assert len(set(where)) == len(where)
        assert np.array_equal(made["labels"][row][: len(where)], rows.tokens[row][where])
        chosen[row, where] = True
    assert np.array_equal(made["tokens"][~chosen], rows.tokens[~chosen])
    assert not (chosen & ~rows.text).any()
    assert made["where"].shape == (64, budget(0.15, 128)) == (64, 20)


def test_the_share_is_met_in_every_row() -> None:
    rows = token_rows(200, 96)
    assert np.array_equal(hide(rows)["weights"].sum(axis=1), np.maximum(np.rint(0.15 * rows.text.sum(axis=1)), 1))


def test_whole_words_keep_the_share_on_average() -> None:
    rows = token_rows(400, 128)
    assert hide(rows, whole_word=True)["weights"].sum() / rows.text.sum() == pytest.approx(0.15, abs=0.015)


def test_of_the_chosen_80_percent_are_masked_10_random_10_kept() -> None:
    rows = token_rows(400, 128)
    made = hide(rows)
    chosen = made["weights"] > 0
    new, old = np.take_along_axis(made["tokens"], made["where"], 1)[chosen], made["labels"][chosen]
    n = chosen.sum()
    assert np.sum(new == 4) / n == pytest.approx(0.8, abs=0.03)
    assert np.sum(new == old) / n == pytest.approx(0.1, abs=0.02)
    other = new[(new != 4) & (new != old)]
    assert len(other) / n == pytest.approx(0.1, abs=0.02)
    assert other.min() >= 5 and len(np.unique(other)) > 100


def test_words_are_hidden_whole() -> None:
    rows = token_rows(64, 128)
    made = hide(rows, whole_word=True)
    begins = rows.first | VOCABULARY.word_start[rows.tokens] | ~rows.text
    word = np.maximum.accumulate(np.where(begins, np.arange(128), 0), axis=1)
    for row in range(64):
        where = made["where"][row][made["weights"][row] > 0]
        members = np.flatnonzero(rows.text[row] & np.isin(word[row], word[row][where]))
        assert set(members) == set(where)


def test_a_word_longer_than_the_budget_still_has_hidden_tokens() -> None:
    rows = token_rows(32, 64)
    rows.tokens = np.where(rows.text, 7, rows.tokens)
    assert (hide(rows, whole_word=True)["weights"].sum(axis=1) > 0).all()


@pytest.mark.parametrize("whole_word", [False, True])
def test_a_row_is_hidden_the_same_whatever_stands_beside_it(whole_word: bool) -> None:
    rows = token_rows(16, 64)
    made = hide(rows, whole_word=whole_word)
    part = TokenRows(**{name: array[5:9] for name, array in vars(rows).items() if isinstance(array, np.ndarray)})
    for key, value in hide(part, whole_word=whole_word).items():
        assert np.array_equal(value, made[key][5:9])


def test_other_row_keys_hide_other_tokens() -> None:
    one, two = token_rows(8, 64), token_rows(8, 64)
    two.row_key = two.row_key + np.uint32(1)
    assert not np.array_equal(hide(one)["where"], hide(two)["where"])


def test_rows_without_text_have_no_weight() -> None:
    rows = token_rows(4, 16)
    rows.text[2] = False
    rows.tokens[3] = np.where(rows.text[3], 1, rows.tokens[3])
    assert hide(rows)["weights"][2:].sum() == 0
