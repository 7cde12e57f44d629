"""How a text is written: the words of the command line over the habits of the folder that a model came from."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from lmkit.checkpoints.hub.generation import Habits
from lmkit.errors import Problem, SpecError

MOST_NEW = 200  # tokens, where nothing says how many
ABOVE_ZERO = ("a share above 0 and at most 1", lambda x: 0 < x <= 1)
RANGES = {
    "temperature": ("a temperature of 0 or more", lambda x: 0 <= x < math.inf),
    "top_p": ABOVE_ZERO,
    "min_p": ABOVE_ZERO,
    "repetition_penalty": ("a number above 0", lambda x: 0 < x < math.inf),
    "length_penalty": ("a number", math.isfinite),
}
Words = Mapping[str, Any]
Way = Literal["draw", "search", "likeliest"]
OF_WAY: dict[Way, tuple[str, ...]] = {
    "draw": ("temperature", "top_k", "top_p", "min_p"),
    "search": ("beams", "length_penalty", "early_stopping"),
    "likeliest": (),
}


def manner(given: Words, habits: Habits | None, *, greedy: bool, max_tokens: int | None) -> dict[str, Any]:
    """The words of generation/settings.py: those given, over the habits as far as these are of the way that is asked for.

    A model without habits draws; words of drawing, `beams` and `greedy` ask for their own way. Raises SpecError with a line
    for each word that does not fit its range or the others.
    """
    usual = habits.words if habits else {}
    usually, way = _way({}, usual), _way({"beams": 1} if greedy else given, usual)
    if problems := list(_problems(given, usual, way, greedy=greedy, max_tokens=max_tokens)):
        raise SpecError(*problems)
    apart = {"texts", *OF_WAY["draw"], *OF_WAY["search"]} if usually != way else set()
    kept = {word: value for word, value in usual.items() if word not in apart}
    return kept | dict(given) | ({} if way == "draw" else {"temperature": 0.0})


def most_new(given: int | None, habits: Habits | None, longest: int) -> int:
    """How many new tokens there may be after rows of `longest` tokens. Raises SpecError where the habits leave room for none."""
    if given is not None or habits is None:
        return given or MOST_NEW
    if habits.new is not None or habits.whole is None:
        return habits.new or MOST_NEW
    if habits.whole <= longest:
        what = f"{habits.file.name} ends texts at {habits.whole} tokens and the prompt has {longest}; say how many may be new"
        raise SpecError(Problem(what, "--max-tokens", "command line"))
    return habits.whole - longest


def _way(given: Words, usual: Words) -> Way:
    if "beams" in given:
        return "search" if given["beams"] > 1 else "likeliest"
    if any(word in given for word in OF_WAY["draw"]):
        return "draw"
    if usual.get("beams", 1) > 1:
        return "search"
    return "likeliest" if usual.get("temperature") == 0 else "draw"


def _problems(given: Words, usual: Words, way: Way, *, greedy: bool, max_tokens: int | None) -> Iterator[Problem]:
    def problem(what: str, word: str) -> Problem:
        return Problem(what, f"--{word.replace('_', '-')}", "command line")

    for word, (what, fits) in RANGES.items():
        if word in given and not fits(given[word]):
            yield problem(f"expected {what}, got {given[word]}", word)
    if max_tokens is not None and given.get("min_tokens", 0) > max_tokens:
        yield problem(f"{given['min_tokens']} are more than --max-tokens {max_tokens}", "min_tokens")
    drawing = [word for word in OF_WAY["draw"] if word in given]
    if greedy:
        yield from (
            problem("--greedy takes the likeliest token; leave out one of the two", word) for word in ("beams", *drawing) if word in given
        )
    elif "beams" in given:
        yield from (problem("a search draws nothing; leave it out or leave out --beams", word) for word in drawing)
    if way != "search":
        yield from (problem("belongs to a search; add --beams", word) for word in OF_WAY["search"][1:] if word in given)
    texts, beams = given.get("texts", 1), given.get("beams", usual.get("beams", 1))
    if way == "search" and texts > beams:
        yield problem(f"{beams} beams cannot give {texts} texts", "texts")
    elif way != "search" and texts > 1 and (way == "likeliest" or given.get("temperature") == 0 or given.get("top_k") == 1):
        yield problem("the likeliest tokens give one text; draw, or add --beams", "texts")
