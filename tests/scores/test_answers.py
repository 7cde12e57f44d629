"""Answers are scored as the official SQuAD script does, and Chinese ones as MLQA's."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmkit.scores.answers import answer_scores, best_threshold, normalized, question_answering
from lmkit.scores.names import ANSWERS

questions = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.integers(0, 4), st.integers(0, 1000)), min_size=1, max_size=12, unique_by=lambda row: row[3]
)


@pytest.mark.parametrize(
    ("golds", "guess", "exact", "f1"),
    [
        (["The  Beatles!"], "beatles", 1, 1),
        (["an apple a day"], "Apple day.", 1, 1),
        (["well-known man"], "wellknown", 0, 2 / 3),
        (["in 1999", "the year 1999"], "year 1999", 1, 1),
        (["New York City"], "york new york", 0, 2 / 3),
        (["cafés"], "cafes", 0, 0),
        (["“quoted”"], "quoted", 0, 0),
        ([], "", 1, 1),
        ([], "something", 0, 0),
        (["something"], "", 0, 0),
        (["the"], "", 1, 1),
        (["the", "dog"], "", 0, 0),
    ],
)
def test_english_answers_score_as_in_squad(golds: list[str], guess: str, exact: float, f1: float) -> None:
    assert answer_scores(golds, guess) == (exact, pytest.approx(f1, abs=1e-15))


@pytest.mark.parametrize(
    ("golds", "guess", "exact", "f1"),
    [
        (["北京大学"], "北京", 0, 2 / 3),
        (["《红楼梦》"], "红楼梦。", 1, 1),
        (["在1999年"], "1999年", 0, 4 / 5),
        (["a 股"], "股", 0, 2 / 3),
        (["东京"], "Tokyo", 0, 0),
    ],
)
def test_chinese_characters_are_words(golds: list[str], guess: str, exact: float, f1: float) -> None:
    assert answer_scores(golds, guess) == (exact, pytest.approx(f1, abs=1e-15))


@given(st.text("aZ theAN.,- é“中国。", max_size=20), st.booleans())
def test_normalizing_is_done_once(text: str, chinese: bool) -> None:
    once = normalized(text, chinese)
    assert normalized(once, chinese) == once == " ".join(once.split())


def test_questions_with_and_without_answers_have_figures_of_their_own() -> None:
    gold = [["red"], ["blue"], [], [], []]
    found = question_answering(gold, ["red", "green", "", "", "no"], None, ANSWERS)
    values = {name: figure.value for name, figure in found.items()}
    assert values["exact_match"] == values["f1"] == 3 / 5
    assert values["has_answer_exact_match"] == values["has_answer_f1"] == 1 / 2 and values["no_answer_exact_match"] == 2 / 3
    assert all(isnan(values[name]) for name in ANSWERS if name.startswith("best"))
    only = question_answering([["red"]], ["red"], None, ANSWERS)
    assert isnan(only["no_answer_exact_match"].value) and only["has_answer_f1"].value == 1


def test_the_best_threshold_answers_where_answers_are_sure() -> None:
    found = question_answering([["red"], ["blue"], []], ["red", "blue", "no"], [0.1, 0.4, 0.9], ANSWERS)
    assert found["exact_match"].value == pytest.approx(2 / 3)
    assert (found["best_exact_match"].value, found["best_exact_match_threshold"].value) == (1, 0.4)
    nothing = question_answering([[], []], ["no", "no"], [0.1, 0.4], ANSWERS)
    assert (nothing["best_f1"].value, nothing["best_f1_threshold"].value) == (1, 0)


@given(questions)
def test_no_other_threshold_reaches_more_than_the_best(rows: list[tuple[bool, bool, int, int]]) -> None:
    answerable, said, quarters, doubt = (np.array(column) for column in zip(*rows, strict=True))
    scores = np.where(answerable, quarters / 4 * said, ~said)
    reached = {
        threshold: np.where(doubt <= threshold, scores, ~answerable).mean() for threshold in (-1, *doubt)
    }  # above the threshold a question is held to have no answer
    best, threshold = best_threshold(scores, answerable, said, doubt)
    assert best == pytest.approx(max(reached.values()), abs=1e-15)
    assert threshold == 0 or reached[int(threshold)] == pytest.approx(best, abs=1e-15)


def test_resamples_without_unanswerable_questions_still_give_an_interval() -> None:
    found = question_answering([["red"], []], ["red", ""], [0.0, 1.0], ANSWERS, rounds=50)
    assert found["no_answer_exact_match"].low == 1 and nan not in (found["f1"].low, found["f1"].high)
