"""The next token: what may be drawn, how often, and that a draw depends on its key and index alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from lmkit.generation.sampling import gumbel, sample, truncate
from lmkit.generation.settings import Settings

LOGITS = np.log(np.array([[0.5, 0.2, 0.15, 0.1, 0.05]], "float32"))


def draws(logits, sampling, count=4000):
    keys = np.arange(count, dtype="uint32")
    rows = np.repeat(logits, count, axis=0)
    return np.asarray(sample(ops.convert_to_tensor(rows), keys, np.int32(3), sampling))


def kept(logits, **options):
    return np.asarray(truncate(ops.convert_to_tensor(logits), **options)) > -1e8


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-30, 30, width=16), min_size=2, max_size=12, unique=True), st.integers(1, 12))
def test_top_k_keeps_exactly_the_k_most_probable(logits, k):
    row = np.array([logits], "float32")
    expected = np.zeros(row.shape, bool)
    expected[0, np.argsort(-row[0])[:k]] = True
    assert (kept(row, top_k=k) == expected).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-8, 8, width=16), min_size=2, max_size=12, unique=True), st.floats(0.05, 0.95))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits, p):
    row = np.array([logits], "float32")
    mass = np.exp(row[0].astype(float))
    mass /= mass.sum()
    inside = kept(row, top_p=p)[0]
    assert mass[inside].sum() >= p - 1e-5
    assert mass[inside].sum() - mass[inside].min() < p + 1e-5
    assert mass[inside].min() > mass[~inside].max(initial=0)


def test_top_p_counts_within_what_top_k_left():
    assert kept(LOGITS, top_k=2, top_p=0.7).tolist() == [[True, False, False, False, False]]
    assert kept(LOGITS, top_p=0.7).tolist() == [[True, True, False, False, False]]


def test_min_p_keeps_what_is_that_share_as_probable_as_the_best():
    assert kept(LOGITS, min_p=0.25).tolist() == [[True, True, True, False, False]]
    assert kept(LOGITS, top_k=2, min_p=0.01).tolist() == [[True, True, False, False, False]]
    assert kept(LOGITS, min_p=1.0).tolist() == [[True, False, False, False, False]]


def test_impossible_tokens_are_never_drawn():
    barred = np.where(np.arange(5) < 3, -np.inf, LOGITS).astype(np.float32)
    for words in (Settings(), Settings(top_k=4), Settings(top_p=0.99), Settings(min_p=0.01), Settings(temperature=5.0)):
        assert set(draws(barred, words)) == {3, 4}


def test_ties_at_the_cut_are_kept_together():
    assert kept(np.array([[1.0, 1.0, 0.0]], "float32"), top_k=1).tolist() == [[True, True, False]]


def test_draws_follow_the_softmax():
    shares = np.bincount(draws(LOGITS, Settings()), minlength=5) / 4000
    assert np.abs(shares - np.exp(LOGITS[0])).max() < 0.03


def test_temperature_sharpens_and_flattens():
    cold = np.bincount(draws(LOGITS, Settings(temperature=0.5)), minlength=5) / 4000
    expected = np.exp(LOGITS[0]) ** 2 / (np.exp(LOGITS[0]) ** 2).sum()
    assert np.abs(cold - expected).max() < 0.03


def test_temperature_zero_and_top_k_one_are_greedy():
    assert set(draws(LOGITS, Settings(temperature=0), 50)) == {0}
    assert set(draws(LOGITS, Settings(top_k=1), 50)) == {0}


@pytest.mark.parametrize("sampling", [Settings(top_k=3), Settings(top_p=0.6), Settings(top_k=4, top_p=0.9, temperature=2.0)])
def test_nothing_is_drawn_outside_the_support(sampling):
    scores = LOGITS / sampling.temperature
    inside = np.flatnonzero(kept(scores, top_k=sampling.top_k, top_p=sampling.top_p)[0])
    assert set(draws(LOGITS, sampling)) == set(inside)


def test_noise_is_standard_gumbel_and_a_function_of_key_index_and_token():
    keys = np.array([7, 8, 7], "uint32")
    noise = np.asarray(gumbel(keys, np.int32(5), 20000))
    assert abs(noise[0].mean() - 0.5772) < 0.03 and abs(noise[0].var() - np.pi**2 / 6) < 0.06
    assert np.isfinite(noise).all()
    assert (noise[0] == noise[2]).all() and abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.03
    shorter = np.asarray(gumbel(keys[:1], np.int32(5), 100))
    assert np.allclose(shorter[0], noise[0, :100], atol=1e-5)
    assert (np.asarray(gumbel(keys[:1], np.int32(6), 100)) != shorter).any()
