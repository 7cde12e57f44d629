"""The words of the command line over a folder's habits: which of them hold, and how much is written."""

from pathlib import Path
from typing import Any

import pytest

from lmkit.checkpoints.hub.generation import Habits
from lmkit.errors import SpecError
from lmkit.inference.manner import manner, most_new

SEARCHES = {"beams": 4, "length_penalty": 2.0, "early_stopping": True, "texts": 2, "no_repeat_ngram": 3}
DRAWS = {"temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.1}
GREEDY = {"temperature": 0.0, "end": (1,)}


def words(given: dict[str, Any], usual: dict[str, Any] | None, *, greedy: bool = False) -> dict[str, Any]:
    return manner(given, None if usual is None else Habits(Path("x"), usual), greedy=greedy, max_tokens=None)


def test_a_model_without_habits_draws() -> None:
    assert words({}, None) == {}
    assert words({"top_k": 5}, None) == {"top_k": 5}
    assert words({}, None, greedy=True) == {"temperature": 0.0}


def test_habits_hold_where_nothing_else_is_asked_for() -> None:
    assert words({}, SEARCHES) == SEARCHES | {"temperature": 0.0}
    assert words({"min_tokens": 3}, DRAWS) == DRAWS | {"min_tokens": 3}
    assert words({"length_penalty": 0.5}, SEARCHES)["length_penalty"] == 0.5
    assert words({"top_k": 7}, DRAWS) == DRAWS | {"top_k": 7}
    assert words({"beams": 2}, SEARCHES) == SEARCHES | {"temperature": 0.0, "beams": 2}


def test_another_way_keeps_the_rules_alone() -> None:
    assert words({"top_p": 0.5}, SEARCHES) == {"no_repeat_ngram": 3, "top_p": 0.5}
    assert words({}, SEARCHES, greedy=True) == {"no_repeat_ngram": 3, "temperature": 0.0}
    assert words({"beams": 3}, DRAWS) == {"repetition_penalty": 1.1, "beams": 3, "temperature": 0.0}
    assert words({"top_k": 5}, GREEDY) == {"end": (1,), "top_k": 5}
    assert words({"beams": 1}, SEARCHES) == {"no_repeat_ngram": 3, "beams": 1, "temperature": 0.0}


@pytest.mark.parametrize(
    ("given", "usual", "greedy", "line"),
    [
        ({"texts": 2}, GREEDY, False, "--texts: the likeliest tokens give one text; draw, or add --beams"),
        ({"texts": 5}, SEARCHES, False, "--texts: 4 beams cannot give 5 texts"),
        ({"length_penalty": 1.0}, DRAWS, False, "--length-penalty: belongs to a search; add --beams"),
        ({"beams": 2}, DRAWS, True, "--beams: --greedy takes the likeliest token; leave out one of the two"),
        ({"beams": 2, "top_k": 4}, SEARCHES, False, "--top-k: a search draws nothing; leave it out or leave out --beams"),
    ],
)
def test_words_that_do_not_fit_each_other_are_named(given: dict[str, Any], usual: dict[str, Any], greedy: bool, line: str) -> None:
    with pytest.raises(SpecError) as caught:
        words(given, usual, greedy=greedy)
    assert str(caught.value) == f"command line: {line}"


def test_how_much_is_written() -> None:
    def most(given: int | None, longest: int = 10, **said: Any) -> int:
        return most_new(given, Habits(Path("generation_config.json"), **said), longest)

    assert most_new(None, None, 10) == 200 and most(None) == 200
    assert (most(7, new=30, whole=40), most(None, new=30, whole=40), most(None, whole=40)) == (7, 30, 30)
    with pytest.raises(SpecError, match=r"--max-tokens: generation_config\.json ends texts at 10 tokens and the prompt has 10; say"):
        most(None, whole=10)
