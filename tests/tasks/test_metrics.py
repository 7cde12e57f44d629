"""Figures from sums."""

from math import exp, log

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from lmkit.tasks.metrics import Sums, entropy, metrics
from lmkit.tasks.spec import CausalLm, Classification, MaskedLm, NextSentence, Regression, Reward, SentenceEmbedding, TokenClassification
from lmkit.training.evaluate import scored_by_rows


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


def test_figures_of_kept_rows_are_those_that_scikit_learn_gives() -> None:
    sums = Sums(3, kept=True)
    true, predicted = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 1, 1, 2])
    weights = np.array([1.0, 1, 1, 1, 0])
    sums.add(true, weights, {"loss": weights, "weight": weights, "correct": (true == predicted) * weights, "predicted": predicted})
    found = metrics(Classification(metrics=("f1", "matthews")), sums, ("a", "b", "c"))
    assert found["accuracy"] == 0.75 and found["majority"] == 0.5 and found["loss"] == 1
    assert found["f1"] == f1_score(true[:4], predicted[:4], average="macro")
    assert found["matthews"] == matthews_corrcoef(true[:4], predicted[:4])
    assert "f1" not in metrics(NextSentence(), sums, ("a", "b", "c"))


def test_of_several_labels_at_once_each_has_an_f1_of_its_own() -> None:
    sums = Sums(3, kept=True)
    true, predicted = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1]]), np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1]])
    weights = np.array([1.0, 1, 0])
    sums.add(true, weights, {"loss": weights, "weight": weights, "correct": [0.0, 1, 0], "predicted": predicted})
    found = metrics(Classification(multi_label=True, metrics=("f1",)), sums, ("a", "b", "c"))
    assert found == {"loss": 1, "accuracy": 0.5, "f1": pytest.approx((1 + 2 / 3 + 0) / 3)}


def test_tags_are_scored_by_sentence_where_they_spell_entities() -> None:
    tags = ("O", "B-x", "I-x")
    true, predicted = np.array([[1, 2, 0, 7], [2, 0, 7, 7]]), np.array([[1, 2, 1, 0], [0, 0, 0, 0]])
    weights = np.array([[1.0, 1, 1, 0], [1, 1, 0, 0]])
    rows = {"loss": np.zeros(2), "weight": np.array([3.0, 2]), "correct": np.array([2.0, 1]), "predicted": predicted}
    sums = Sums(8, kept=True)
    sums.add(true, weights, rows)
    assert metrics(TokenClassification(), sums, tags)["f1"] == pytest.approx(2 / 4)  # right 1, given 2, true 2
    assert "f1" not in metrics(TokenClassification(), sums, ("NOUN", "VERB", "X"))


def test_numbers_that_are_all_alike_have_no_correlation() -> None:
    sums = Sums(0, kept=True)
    one = np.ones(3)
    sums.add(np.array([1.0, 2, 3]), one, {"loss": one, "weight": one, "correct": one, "predicted": np.array([1.0, 2, 4])})
    assert metrics(Regression(), sums)["pearson"] == pytest.approx(np.corrcoef([1, 2, 3], [1, 2, 4])[0, 1])
    sums.add(np.array([9.0]), np.zeros(1), {"loss": one, "weight": one, "correct": one, "predicted": np.array([0.0])})
    assert len(sums.rows) == 3
    sums.rows = [(true, np.float32(1)) for true, _ in sums.rows]
    assert metrics(Regression(), sums).keys() == {"loss"}


def test_aims_are_what_evaluations_give() -> None:
    labels = ("O", "B-x")
    for task in (CausalLm(), MaskedLm(), NextSentence(), Classification(metrics=("f1",)), Regression(), TokenClassification(), Reward()):
        sums = Sums(0 if isinstance(task, Regression | Reward) else 2, kept=scored_by_rows(task))
        one = np.ones((2, 1)) if isinstance(task, TokenClassification) else np.ones(2)
        true = np.array([0, 1]).reshape(one.shape)
        outputs = {"loss": one, "weight": one, "correct": one, "predicted": true, "margin": one}
        sums.add(true, one, outputs)
        found = metrics(task, sums, labels, byte_length=np.ones(2))
        assert set(task.aims((), answers=False)) == found.keys() - {"unigram_entropy", "majority"}, task.kind


def test_no_accuracy_is_told_of_texts_that_are_compared_to_themselves_without_dropout() -> None:
    task, sums = SentenceEmbedding(loss="simcse"), Sums(0)
    sums.add(np.zeros(2, int), np.ones(2), {"loss": np.ones(2), "weight": np.ones(2), "correct": np.ones(2)})
    assert task.figures == ("loss",) and metrics(task, sums) == {"loss": 1.0}
