"""A user's own metric: its figure, its interval, and what is said where it gives none."""

from collections.abc import Sequence
from typing import Any

import pytest

from lmkit.errors import SpecError
from lmkit.scores.custom import Metric, own_figure


class Share(Metric):
    def score(self, right: Sequence[Any], answered: Sequence[Any]) -> Any:
        return sum(a == b for a, b in zip(right, answered, strict=True)) / len(right)


class Slow(Share):
    resampled = False


class Word(Share):
    def score(self, right: Sequence[Any], answered: Sequence[Any]) -> Any:
        return "good"


def test_it_has_a_value_and_the_interval_of_its_values_over_resamples() -> None:
    found = own_figure(Share(name="custom.Share"), list("aabb"), list("aaba"), rounds=200)
    assert found.value == 0.75 and found.low is not None and found.high is not None
    assert 0 <= found.low < 0.75 <= found.high <= 1


def test_a_slow_one_is_asked_once() -> None:
    found = own_figure(Slow(name="custom.Slow"), list("ab"), list("ab"), rounds=200)
    assert (found.value, found.low, found.high) == (1, None, None)


def test_it_is_not_asked_of_nothing() -> None:
    value = own_figure(Word(name="custom.Word"), [], []).value
    assert value != value


def test_what_is_no_number_is_said() -> None:
    with pytest.raises(SpecError, match=r"Word\.score gives str; give a number"):
        own_figure(Word(name="custom.Word"), ["a"], ["a"])
