"""Like texts are near each other: cosines, their correlation with ratings, and finding the other of a pair."""

import numpy as np
import pytest
from scipy import stats

from lmkit.scores.embeddings import BLOCK, cosines, ranks, retrieval, similarity
from lmkit.scores.names import RETRIEVAL, SIMILARITY

RNG = np.random.default_rng(0)


def test_cosines_do_not_depend_on_length() -> None:
    a, b = RNG.normal(size=(2, 10, 4))
    lengths = RNG.uniform(0.1, 9, (10, 1))
    assert cosines(a * lengths, b) == pytest.approx(cosines(a, b))
    assert cosines(a, a) == pytest.approx(np.ones(10)) and cosines(a, -a) == pytest.approx(-np.ones(10))
    assert cosines(np.zeros((1, 4)), a[:1]) == 0


def test_similarity_correlates_ratings_with_cosines() -> None:
    a, b = RNG.normal(size=(2, 30, 4))
    gold = RNG.uniform(0, 5, 30).tolist()
    found = similarity(a, b, gold, SIMILARITY)
    assert found["spearman"].value == stats.spearmanr(gold, cosines(a, b))[0]
    assert found["pearson"].value == stats.pearsonr(gold, cosines(a, b))[0]


def test_each_finds_its_own_and_shifted_pairs_find_none() -> None:
    a = np.eye(5)
    assert [figure.value for figure in retrieval(a, a, RETRIEVAL).values()] == [1, 1]
    assert retrieval(a, np.roll(a, 1, axis=0), ["accuracy_at_1"])["accuracy_at_1"].value == 0


def test_ranks_are_those_of_sorting_however_many_rows_there_are() -> None:
    a, b = RNG.normal(size=(2, BLOCK + 30, 6))
    near = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T
    order = np.argsort(-near, axis=1)
    expected = np.argmax(order == np.arange(len(a))[:, None], axis=1) + 1
    assert (ranks(a, b) == expected).mean() > 0.99
    assert retrieval(a, b, ["mrr"])["mrr"].value == pytest.approx((1 / expected).mean(), rel=1e-3)


def test_equal_vectors_for_all_texts_find_nothing() -> None:
    same = np.tile(RNG.normal(size=(1, 8)), (20, 1))
    assert [figure.value for figure in retrieval(same, same, RETRIEVAL).values()] == [0, pytest.approx(1 / 20)]
