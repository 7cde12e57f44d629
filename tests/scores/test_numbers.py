"""Correlations are scipy's, errors scikit-learn's."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from lmkit.scores.names import NUMBERS
from lmkit.scores.numbers import regression

numbers = st.integers(-50, 50).map(lambda tenth: tenth / 10)


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=40))
@settings(max_examples=50, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_figures_equal_the_libraries(rows: list[tuple[float, float]]) -> None:
    gold, predicted = map(list, zip(*rows, strict=True))
    found = {name: figure.value for name, figure in regression(gold, predicted, NUMBERS).items()}
    for name, theirs in (("pearson", stats.pearsonr(gold, predicted)[0]), ("spearman", stats.spearmanr(gold, predicted)[0])):
        assert found[name] == theirs or (isnan(found[name]) and isnan(theirs))
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(gold, predicted), rel=1e-14)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(gold, predicted), rel=1e-14)


@pytest.mark.filterwarnings("error")
def test_constant_numbers_have_no_correlation() -> None:
    found = regression([1.0, 2.0, 3.0], [5.0, 5.0, 5.0], NUMBERS, rounds=10)
    assert isnan(found["pearson"].value) and isnan(found["spearman"].value) and found["mae"].value == 3


def test_order_is_all_that_spearman_sees() -> None:
    gold = np.random.default_rng(0).normal(size=30)
    assert regression(gold.tolist(), np.exp(gold).tolist(), ["spearman"])["spearman"].value == pytest.approx(1)


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 true numbers, 1 predicted"):
        regression([1.0, 2.0], [1.0], ["mse"])
