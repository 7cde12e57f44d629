"""Rules against their plain meaning, in any layout of slots."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from lmkit.generation.rules import Written, completing_ngram, completing_word, constrain, least
from lmkit.generation.settings import Settings

VOCAB = 8
ROWS = st.lists(st.integers(0, 3), min_size=1, max_size=10)


def written(row, *, before=0, after=0, drawn=0, least=0, most=99):
    """One row after `before` slots of padding, with `after` slots of what is not written yet."""
    tokens = np.array([[1] * before + row + [2] * after], np.int32)
    numbers = (np.array([before], np.int32), np.int32(before + len(row)), np.int32(drawn), np.int32(least), np.int32(most))
    return Written(ops.convert_to_tensor(tokens), *numbers)


def tokens_where(mask):
    return np.flatnonzero(np.asarray(mask)[0]).tolist()


def possible(row, words, **layout):
    scores = np.linspace(-1, 1, VOCAB, dtype=np.float32)[None]
    return np.flatnonzero(np.isfinite(np.asarray(constrain(scores, written(row, **layout), words))[0])).tolist()


@given(ROWS, st.integers(1, 4), st.integers(0, 3), st.integers(0, 3))
def test_a_token_completes_an_ngram_iff_the_row_would_hold_it_twice(row, size, before, after):
    expected = []
    for token in range(VOCAB):
        whole = [*row, token]
        grams = [tuple(whole[i : i + size]) for i in range(len(whole) - size + 1)]
        if grams and grams[-1] in grams[:-1]:
            expected.append(token)
    assert tokens_where(completing_ngram(written(row, before=before, after=after), size, VOCAB)) == expected


@given(ROWS, st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=4), st.integers(0, 3))
def test_a_token_completes_a_word_iff_the_row_ends_with_the_rest_of_it(row, words, before):
    expected = sorted({word[-1] for word in words if row[-2:] == word[:-1]})
    assert tokens_where(completing_word(written(row, before=before, after=2), np.array(words, np.int32), VOCAB)) == expected


@given(ROWS, st.sampled_from([0.5, 1.5, 3.0]), st.integers(0, 3), st.integers(0, 3))
def test_the_penalty_pulls_scores_of_seen_tokens_down_and_no_others(row, penalty, before, after):
    scores = np.linspace(-1, 1, VOCAB, dtype=np.float32)[None]
    made = np.asarray(constrain(scores, written(row, before=before, after=after), Settings(repetition_penalty=penalty)))[0]
    for token, (old, new) in enumerate(zip(scores[0], made, strict=True)):
        assert np.isclose(new, (old * penalty if old < 0 else old / penalty) if token in row else old)


def test_no_text_ends_too_early():
    assert possible([3, 3], Settings(end=(5, 6), min_tokens=3), drawn=2, least=3) == [0, 1, 2, 3, 4, 7]
    assert 5 in possible([3, 3], Settings(end=(5, 6), min_tokens=3), drawn=3, least=3)
    assert least(Settings(min_tokens=3, min_length=5), [1, 2, 4, 9]).tolist() == [4, 3, 3, 3]


def test_forced_tokens_come_second_and_last():
    words = Settings(forced_first=4, forced_last=(6, 7))
    assert possible([0], words, before=2) == [4]
    assert possible([0, 0], words, drawn=3, most=5) == list(range(VOCAB))
    assert possible([0, 0], words, drawn=4, most=5) == [6, 7]


def test_what_is_left_can_be_made_probabilities_again():
    scores = np.linspace(-1, 1, VOCAB, dtype=np.float32)[None]
    made = np.asarray(constrain(scores, written([1]), Settings(suppressed=(0, 7), renormalize=True)))[0]
    assert np.isclose(np.exp(made).sum(), 1) and np.isinf(made[[0, 7]]).all()


def test_suppressed_tokens_never_come_and_some_never_first():
    words = Settings(suppressed=(0, 1), suppressed_first=(2,))
    assert possible([5, 5], words) == [3, 4, 5, 6, 7]
    assert possible([5, 5], words, drawn=1) == [2, 3, 4, 5, 6, 7]
    forcing = Settings(suppressed_first=(2,), forced_first=3)
    assert (possible([0], forcing), 2 in possible([0, 3], forcing, drawn=1)) == ([3], False)


def test_the_end_alone_is_no_bad_word():
    assert possible([1], Settings(end=(5,), bad_words=((5,), (6,)))) == [0, 1, 2, 3, 4, 5, 7]
