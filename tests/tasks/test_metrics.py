"""Figures from sums."""

from math import exp, log

import numpy as np
import pytest

from lmkit.tasks.metrics import Sums, entropy, macro_f1, metrics
from lmkit.tasks.spec import CausalLm, Classification, MaskedLm, NextSentence


def test_a_uniform_guess_over_v_labels_has_perplexity_v_and_log2_v_bits_a_byte() -> None:
    sums = Sums(256)
    for _ in range(3):
        loss = np.full(4, 10 * log(256))
        sums.add(np.arange(40).reshape(4, 10), np.ones((4, 10)), {"loss": loss, "weight": np.full(4, 10.0), "correct": np.ones(4)})
    found = metrics(CausalLm(), sums, byte_length=np.ones(256, int))
    assert found["perplexity"] == pytest.approx(256)
    assert found["bits_per_byte"] == pytest.approx(8)
    assert found["accuracy"] == pytest.approx(0.1)
    assert found["unigram_entropy"] == pytest.approx(log(40))


def test_labels_without_weight_count_nowhere() -> None:
    sums = Sums(4)
    sums.add(np.array([[1, 3]]), np.array([[1.0, 0.0]]), {"loss": np.array([2.0]), "weight": np.array([1.0]), "correct": np.array([0.0])})
    found = metrics(MaskedLm(), sums)
    assert sums.counts.tolist() == [0, 1, 0, 0]
    assert found == {"loss": 2.0, "perplexity": exp(2.0), "accuracy": 0.0, "unigram_entropy": 0.0}


def test_a_model_that_knows_only_frequencies_scores_the_unigram_entropy() -> None:
    counts = np.array([5, 3, 0, 2])
    p = counts[counts > 0] / 10
    assert entropy(counts) == pytest.approx(-(counts[counts > 0] * np.log(p)).sum() / 10)
    assert entropy(np.zeros(3, int)) == 0


def test_accuracy_and_f1_follow_from_what_was_right() -> None:
    sums = Sums(3)
    true, predicted = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 1, 1, 2])
    weights = np.array([1.0, 1, 1, 1, 0])
    sums.add(true, weights, {"loss": weights, "weight": weights, "correct": (true == predicted) * weights, "predicted": predicted})
    found = metrics(Classification(metrics=("accuracy", "f1")), sums)
    assert found["accuracy"] == 0.75 and found["majority"] == 0.5 and found["loss"] == 1
    assert found["f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert macro_f1(*np.ones((3, 4), int)) == 1
    assert "f1" not in metrics(NextSentence(), sums)


def test_of_several_labels_at_once_each_has_an_f1_of_its_own() -> None:
    sums = Sums(3)
    true, predicted = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1]]), np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1]])
    weights = np.array([1.0, 1, 0])
    sums.add(true, weights, {"loss": weights, "weight": weights, "correct": [0.0, 1, 0], "predicted": predicted})
    found = metrics(Classification(multi_label=True, metrics=("f1",)), sums)
    assert found == {"loss": 1, "accuracy": 0.5, "f1": pytest.approx((1 + 2 / 3) / 2)}
