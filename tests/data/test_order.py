"""Order without state."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmkit.counting import TEST_VECTOR, mix
from lmkit.data.order import Mixture, permutation, row_keys
from lmkit.layers import dropout


@pytest.mark.parametrize(("words", "expected"), TEST_VECTOR)
def test_the_hash_of_data_and_of_dropout_is_one_function(words: tuple[int, ...], expected: int) -> None:
    assert mix(*words) == expected
    assert mix(*words[:-1], np.array([words[-1]]))[0] == expected
    assert int(np.asarray(dropout.mix(*words))) == expected


def test_row_keys_differ_between_rows_steps_and_seeds() -> None:
    keys = np.concatenate([row_keys(seed, step, 64) for seed in range(4) for step in range(16)])
    assert keys.dtype == np.uint32
    assert len(np.unique(keys)) == len(keys)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(0, 10**6), st.integers(1, 3000))
def test_a_permutation_is_one_and_any_element_can_be_asked_alone(seed: int, epoch: int, n: int) -> None:
    whole = permutation(seed, epoch, n)
    assert np.array_equal(np.sort(whole), np.arange(n))
    for index in {0, n // 2, n - 1}:
        assert permutation(seed, epoch, n, index) == whole[index]


def test_all_orders_of_four_things_are_about_equally_likely() -> None:
    counts = Counter(tuple(permutation(seed, 0, 4).tolist()) for seed in range(4800))
    assert set(counts) == set(permutations(range(4)))
    assert sum((n - 200) ** 2 / 200 for n in counts.values()) < 60  # chi-squared, 23 degrees of freedom: p = 4e-5


def test_neighbours_are_torn_apart() -> None:
    order = permutation(1, 2, 10_000).astype(int)
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.05
    assert np.mean(np.abs(np.diff(order)) == 1) < 0.01


@pytest.mark.parametrize("weights", [(2, 1), (0.7, 0.2, 0.1), (1, 1, 1, 1), (3.14159, 1)])
def test_shares_of_a_mixture_are_exact_in_every_block(weights: tuple[float, ...]) -> None:
    mixture = Mixture(weights, seed=3)
    stream, _ = mixture.locate(np.arange(5 * mixture.block))
    for block in stream.reshape(5, -1):
        assert np.array_equal(np.bincount(block, minlength=len(weights)), mixture.quotas)
    assert mixture.quotas / mixture.block == pytest.approx(np.array(weights) / sum(weights), abs=1e-3)


def test_a_mixture_draws_each_element_of_each_stream_once_and_needs_no_history() -> None:
    mixture = Mixture((0.5, 0.3, 0.2), seed=9)
    stream, within = mixture.locate(np.arange(7 * mixture.block))
    for k in range(3):
        assert np.array_equal(np.sort(within[stream == k]), np.arange(np.sum(stream == k)))
    for index in (0, 3, 69):
        assert mixture.locate(index) == (stream[index], within[index])
