"""Figures of labels are scikit-learn's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from lmkit.scores.classes import classification, multi_label
from lmkit.scores.names import CLASSES, MULTI_LABEL

LABELS = ["bad", "good", "mixed", "absent"]
SCORES = {"f1": metrics.f1_score, "precision": metrics.precision_score, "recall": metrics.recall_score}
pairs = st.lists(st.tuples(st.sampled_from(LABELS[:3]), st.sampled_from(LABELS[:3])), min_size=2, max_size=40)
subsets = st.lists(st.tuples(*[st.sets(st.sampled_from(LABELS[:3]))] * 2), min_size=1, max_size=40)


@given(pairs)
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_one_label_a_row_is_scored_as_scikit_learn_does(rows: list[tuple[str, str]]) -> None:
    gold, predicted = map(list, zip(*rows, strict=True))
    found = classification(gold, predicted, LABELS, CLASSES)
    assert found["accuracy"].value == metrics.accuracy_score(gold, predicted)
    assert found["matthews"].value == metrics.matthews_corrcoef(gold, predicted)
    for measure, score in SCORES.items():
        assert found[measure].value == score(gold, predicted, average="macro", zero_division=0)
        for average in ("micro", "weighted"):
            assert found[f"{measure}_{average}"].value == score(gold, predicted, average=average, zero_division=0)


@given(pairs)
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_binary_figures_are_of_the_second_label(rows: list[tuple[str, str]]) -> None:
    gold, predicted = ([label if label == "good" else "bad" for label in side] for side in zip(*rows, strict=True))
    found = classification(gold, predicted, ["bad", "good"], CLASSES)
    for measure, score in SCORES.items():
        assert found[f"{measure}_binary"].value == score(gold, predicted, average="binary", pos_label="good", zero_division=0)


@given(subsets)
@settings(max_examples=40, deadline=None)
def test_sets_of_labels_are_scored_as_scikit_learn_does(rows: list[tuple[set[str], set[str]]]) -> None:
    gold, predicted = map(list, zip(*rows, strict=True))
    found = multi_label(gold, predicted, LABELS, MULTI_LABEL)
    true, guess = (np.array([[label in row for label in LABELS] for row in side], int) for side in (gold, predicted))
    assert found["accuracy"].value == metrics.accuracy_score(true, guess)
    for measure, score in SCORES.items():
        assert found[measure].value == score(true, guess, average="macro", zero_division=0)
        for average in ("micro", "weighted", "samples"):
            value = found[f"{measure}_{average}"].value
            assert value == pytest.approx(score(true, guess, average=average, zero_division=0), abs=1e-14)


@pytest.mark.filterwarnings("error")
def test_one_label_alone_is_neither_warning_nor_agreement() -> None:
    found = classification(["good"] * 3, ["good"] * 3, LABELS, CLASSES)
    assert found["accuracy"].value == found["f1"].value == 1 and found["matthews"].value == 0
    assert classification(["bad"], ["mixed"], LABELS, ["f1_binary"])["f1_binary"].value == 0


def test_the_interval_is_that_of_scikit_learn_on_resampled_rows() -> None:
    from lmkit.scores.figure import resamples

    rng = np.random.default_rng(1)
    gold, predicted = rng.choice(LABELS[:3], 60), rng.choice(LABELS[:3], 60)
    for name, average in (("f1", "macro"), ("f1_weighted", "weighted")):
        values = [metrics.f1_score(gold[rows], predicted[rows], average=average) for rows in resamples(60, 50)]
        figure = classification(gold.tolist(), predicted.tolist(), LABELS, [name], rounds=50)[name]
        assert (figure.low, figure.high) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), abs=1e-14)


def test_a_label_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ValueError, match="'odd' is not among the labels"):
        classification(["odd"], ["bad"], LABELS, ["accuracy"])
    with pytest.raises(ValueError, match="'odd' is not among the labels"):
        multi_label([{"bad"}], [{"odd"}], LABELS, ["accuracy"])
