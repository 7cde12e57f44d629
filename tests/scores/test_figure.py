"""Intervals by resampling, and what every kind of figure has in common."""

import subprocess
import sys
from collections.abc import Callable
from math import isnan
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest

from lmkit.scores.answers import question_answering
from lmkit.scores.classes import classification, multi_label
from lmkit.scores.embeddings import retrieval, similarity
from lmkit.scores.figure import Figure, figures, resamples
from lmkit.scores.names import ANSWERS, CLASSES, MULTI_LABEL, NUMBERS, RETRIEVAL, SIMILARITY, TAGS, TEXTS
from lmkit.scores.numbers import regression
from lmkit.scores.tags import tagging
from lmkit.scores.texts import generation

RNG = np.random.default_rng(3)
WORDS = np.array(
    ["the", "a", "small", "dog", "runs", "over", "green", "hills", "and", "sees", "two", "birds", "中", "国", "人", "Häuser", ",", "."]
)


def words(least: int, most: int) -> list[str]:
    return RNG.choice(WORDS, RNG.integers(least, most)).tolist()


def noisy(values: list[Any], kinds: list[Any]) -> list[Any]:
    return [value if RNG.random() < 0.8 else kinds[RNG.integers(len(kinds))] for value in values]


def samples(count: int) -> dict[str, tuple[tuple[str, ...], Callable[..., dict[str, Figure]], tuple[Any, ...]]]:
    """For each kind: its names, its function, and `count` examples."""
    labels = ["no", "yes", "perhaps"]
    one = RNG.choice(labels, count).tolist()
    some = [set(RNG.choice(labels, RNG.integers(3)).tolist()) for _ in range(count)]
    numbers = RNG.normal(size=count)
    tags = [RNG.choice(["O", "B-PER", "I-PER", "B-LOC"], RNG.integers(1, 20)).tolist() for _ in range(count)]
    texts = [" ".join(words(5, 30)) for _ in range(count)]
    others = [" ".join(noisy(text.split(), WORDS.tolist())) for text in texts]
    golds = [[text] if RNG.random() < 0.7 else [] for text in texts]
    vectors = RNG.normal(size=(count, 8))
    return {
        "classes": (CLASSES, classification, (one, noisy(one, labels), labels)),
        "multi_label": (MULTI_LABEL, multi_label, (some, noisy(some, [set(), {"no"}]), labels)),
        "numbers": (NUMBERS, regression, (numbers.tolist(), (numbers + RNG.normal(size=count)).tolist())),
        "tags": (TAGS, tagging, (tags, [noisy(one, ["O", "B-PER", "I-LOC"]) for one in tags])),
        "answers": (ANSWERS, question_answering, (golds, noisy(others, [""]), RNG.random(count).tolist())),
        "texts": (TEXTS, generation, (others, [[text] for text in texts])),
        "similarity": (SIMILARITY, similarity, (vectors, vectors + RNG.normal(size=vectors.shape), numbers)),
        "retrieval": (RETRIEVAL, retrieval, (vectors, vectors + RNG.normal(size=vectors.shape))),
    }


SOME = samples(40)
KINDS = sorted(SOME)


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_has_a_value_inside_its_interval(kind: str) -> None:
    names, function, examples = SOME[kind]
    found = function(*examples, names, rounds=200)
    assert set(names) - {"f1_by_type"} <= found.keys()
    for name, figure in found.items():
        assert figure.low is not None and figure.high is not None
        assert figure.low <= figure.value <= figure.high or name.startswith(("best", "rouge2")), name


@pytest.mark.parametrize("kind", KINDS)
def test_equal_calls_give_equal_figures_and_no_interval_unasked(kind: str) -> None:
    names, function, examples = SOME[kind]
    found = function(*examples, names, rounds=20)
    assert found == function(*examples, names, rounds=20)
    plain = function(*examples, names)
    assert {name: figure.value for name, figure in found.items()} == {name: figure.value for name, figure in plain.items()}
    assert all(figure.low is None and figure.high is None for figure in plain.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("error")
def test_no_examples_are_nan_and_one_is_no_problem(kind: str) -> None:
    names, function, examples = SOME[kind]
    labels = examples[2:] if kind in ("classes", "multi_label") else ()
    sides = examples[: len(examples) - len(labels)]
    for rounds in (0, 5):
        none = function(*[side[:0] for side in sides], *labels, names, rounds=rounds)
        assert all(isnan(figure.value) for figure in none.values())
        function(*[side[:1] for side in sides], *labels, names, rounds=rounds)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_is_refused_with_those_that_exist(kind: str) -> None:
    names, function, examples = SOME[kind]
    with pytest.raises(ValueError, match=rf"bleurt is not a figure.*{names[0]}"):
        function(*examples, [*names, "bleurt"])


@pytest.mark.parametrize("kind", KINDS)
def test_resampling_two_thousand_examples_a_hundred_times_takes_no_second(kind: str) -> None:
    names, function, examples = samples(2000)[kind]
    for name in names:
        before = process_time()
        function(*examples, [name])
        between = process_time()
        function(*examples, [name], rounds=100)
        assert process_time() - between - (between - before) < 1, name


def test_the_interval_of_a_mean_is_two_standard_errors_wide() -> None:
    values = np.random.default_rng(0).normal(3, 1, 400)
    (figure,) = figures(["mean"], lambda rows: {"mean": float(values[rows].mean())}, 400, rounds=2000).values()
    error = values.std() / 20
    assert figure.low == pytest.approx(figure.value - 1.96 * error, abs=0.15 * error)
    assert figure.high == pytest.approx(figure.value + 1.96 * error, abs=0.15 * error)


def test_resamples_are_drawn_with_replacement_and_by_seed() -> None:
    first = np.stack(list(resamples(50, 20)))
    assert np.array_equal(first, np.stack(list(resamples(50, 20)))) and not np.array_equal(first, np.stack(list(resamples(50, 20, seed=1))))
    assert first.min() >= 0 and first.max() < 50 and all(len(set(rows)) < 50 for rows in first)


def test_resamples_without_a_value_do_not_count() -> None:
    (figure,) = figures(["half"], lambda rows: {"half": 1.0 if rows[0] % 2 else float("nan")}, 10, rounds=50).values()
    assert isnan(figure.value) and figure.low == figure.high == 1
    (figure,) = figures(["none"], lambda rows: {"none": float("nan")}, 10, rounds=50).values()
    assert figure.low is not None and isnan(figure.low)


def test_libraries_are_loaded_only_when_they_score() -> None:
    rooms = ["answers", "classes", "embeddings", "numbers", "tags", "texts"]
    code = "\n".join(f"import lmkit.scores.{room}" for room in rooms)
    code += "\nimport sys; assert not {'sklearn', 'scipy', 'sacrebleu', 'rouge_score', 'nltk', 'keras', 'tensorflow'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
