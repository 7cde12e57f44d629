"""Entities as conlleval and seqeval read them, and figures of them and of plain tags."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from lmkit.scores.names import TAGS
from lmkit.scores.tags import beginnings, entities, tagging

spans = st.lists(st.tuples(st.sampled_from(["PER", "LOC", "X-Y"]), st.integers(1, 4), st.integers(0, 2)), max_size=6)


def spelled(pieces: list[tuple[str, int, int]], first: str, middle: str, last: str, single: str) -> list[str]:
    """Tags of entities of some type and length, each followed by some words outside."""
    tags: list[str] = []
    for kind, length, gap in pieces:
        letters = [single] if length == 1 else [first, *[middle] * (length - 2), last]
        tags += [f"{letter}-{kind}" for letter in letters] + ["O"] * gap
    return tags


@given(spans)
def test_every_spelling_gives_back_the_entities_it_was_made_of(pieces: list[tuple[str, int, int]]) -> None:
    expected, place = set(), 0
    for kind, length, gap in pieces:
        expected.add((kind, place, place + length))
        place += length + gap
    for letters in ("BIIB", "BIES", "BILU", "BMES", "BMEW"):
        assert entities(spelled(pieces, *letters)) == expected, letters
        assert not beginnings(spelled(pieces, *letters))[0]


@given(st.lists(st.sampled_from(["O", *(f"{letter}-{kind}" for letter in "BIES" for kind in ("PER", "LOC"))]), max_size=12))
def test_what_begins_an_entity_is_told_by_its_letter_or_by_what_stands_before(tags: list[str]) -> None:
    inside, outside = beginnings(tags)
    starts = {start for _, start, _ in entities(tags)}
    assert {*inside, *outside} <= starts and all(tags[place][0] in "IE" for place in inside)
    for place in starts - {*inside, *outside}:  # next to another of its type
        assert tags[place][0] in "BS" and tags[place - 1][0] in "BI" and tags[place][1:] == tags[place - 1][1:]


@given(st.lists(st.sampled_from(["O", *(f"{letter}-{kind}" for letter in "BIES" for kind in ("PER", "LOC"))]), max_size=12))
def test_entities_share_no_word_and_leave_out_only_those_outside(tags: list[str]) -> None:
    covered = sorted(place for _, start, end in entities(tags) for place in range(start, end))
    assert covered == [place for place, tag in enumerate(tags) if tag != "O"]


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("I-PER I-PER O I-LOC", {("PER", 0, 2), ("LOC", 3, 4)}),  # IOB1, or a start that was missed
        ("B-PER I-LOC I-LOC", {("PER", 0, 1), ("LOC", 1, 3)}),
        ("B-PER B-PER I-PER", {("PER", 0, 1), ("PER", 1, 3)}),
        ("E-PER E-PER I-PER", {("PER", 0, 1), ("PER", 1, 2), ("PER", 2, 3)}),
        ("S-PER I-PER E-PER O", {("PER", 0, 1), ("PER", 1, 3)}),
        ("B-X-Y I-X-Y I-X", {("X-Y", 0, 2), ("X", 2, 3)}),
        ("B I O B", {("_", 0, 2), ("_", 3, 4)}),
        ("O O", set()),
    ],
)
def test_entities_of_odd_spellings_are_those_of_seqeval(tags: str, found: set[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == found


def test_figures_are_those_that_seqeval_gives_for_the_same_tags() -> None:
    gold = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"], ["B-LOC", "O", "B-PER"]]
    predicted = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"], ["B-PER", "O", "I-PER"]]
    found = {name: figure.value for name, figure in tagging(gold, predicted, TAGS).items()}
    tags = ["PER", "LOC", "MISC"]
    assert [found["precision"], found["recall"], found["f1"]] == [2 / 4, 2 / 4, 1 / 2]
    assert [found[f"f1.{tag}"] for tag in tags] == [2 * (2 / 3) * 1 / (2 / 3 + 1), 0, 0]
    assert found["accuracy"] == 9 / 13


@given(st.lists(st.lists(st.tuples(*[st.sampled_from(["NOUN", "VERB", "PUNCT"])] * 2), min_size=1, max_size=6), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("error")
def test_plain_tags_are_scored_as_scikit_learn_does_and_have_no_entities(sentences: list[list[tuple[str, str]]]) -> None:
    gold, predicted = ([[pair[side] for pair in sentence] for sentence in sentences] for side in (0, 1))
    found = {name: figure.value for name, figure in tagging(gold, predicted, TAGS).items()}
    true, guess = ([tag for tags in side for tag in tags] for side in (gold, predicted))
    assert found["accuracy"] == metrics.accuracy_score(true, guess)
    assert found["f1_tags"] == metrics.f1_score(true, guess, average="macro", zero_division=0)
    assert isnan(found["f1"]) and isnan(found["precision"]) and isnan(found["recall"])


def test_whole_sentences_are_resampled() -> None:
    gold = [["B-PER"] * 50, ["O"] * 50]
    found = tagging(gold, [["B-PER"] * 50, ["B-PER"] * 50], ["accuracy", "f1_tags"], rounds=100)
    assert (found["accuracy"].low, found["accuracy"].high) == (0, 1)
    assert found["f1_tags"].value == pytest.approx(np.mean([2 / 3, 0]))


@pytest.mark.filterwarnings("error")
def test_sentences_without_words_count_nothing() -> None:
    full = tagging([["B-PER"], []], [["B-PER"], []], TAGS, rounds=20)
    assert full["accuracy"].value == full["f1"].value == full["f1.PER"].value == 1
    assert isnan(tagging([[]], [[]], ["accuracy"])["accuracy"].value)


def test_sentences_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="other numbers of true tags"):
        tagging([["O", "O"]], [["O"]], ["f1"])
