"""Answers of every kind of head: whole, in their places, and the same whatever else is in a batch."""

import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmkit.data.document import Document
from lmkit.data.spec import Data
from lmkit.errors import DataError, SpecError
from lmkit.inference.answers import answerer
from lmkit.inference.opened import OpenedModel
from lmkit.inference.spans import spans_of
from lmkit.inference.token_answers import entities, windows
from lmkit.run.directory import RunDirectory
from lmkit.run.model import build_model
from lmkit.run.open import OpenedRun
from lmkit.run.readable import answer_lines
from lmkit.spec_file.resolve import resolve
from lmkit.spec_file.spec import RunSpec
from lmkit.text.build import train_tokenizer
from lmkit.text.joining import join_words
from lmkit.text.spec import WordPiece
from lmkit.text.template import Template, bare, wrapped

TEXT = "The quick brown fox jumps over the lazy dog, and again the fox jumps."
TOKENIZER = train_tokenizer(WordPiece(vocab_size=120, lowercase=True), [TEXT * 9, "Who jumps? Where does the dog sleep?" * 9])
NAMES = ("O", "B-animal", "I-animal")
TASKS: dict[str, dict[str, Any]] = {
    "class": {"kind": "classification", "labels": ["bad", "good"]},
    "nsp": {"kind": "next_sentence"},
    "score": {"kind": "regression"},
    "mlm": {"kind": "masked_lm"},
    "ner": {"kind": "token_classification", "labels": list(NAMES)},
    "rtd": {"kind": "replaced_token"},
    "qa": {"kind": "question_answering"},
    "embedding": {"kind": "sentence_embedding"},
    "lm": {"kind": "causal_lm"},
}
LABELS = {"class": ("bad", "good"), "ner": NAMES}


LONGEST = 15  # tokens of an answer


def opened(*names: str) -> OpenedModel:
    """A tiny model with random weights that does these tasks."""
    words = {
        "name": "tiny",
        "tokenizer": {"from": "nowhere"},
        "data": {"train": {"imported": "nowhere"}, "max_length": 24},
        "model": {"kind": "encoder", "num_layers": 2, "hidden_size": 16, "num_heads": 2, "token_types": 2},
        "tasks": {name: TASKS[name] for name in names},
        "training": {"steps": 1, "batch_size": 1, "optimizer": {"kind": "adamw", "learning_rate": 1e-5}},
    }
    spec = resolve(RunSpec.model_validate(words))[0]
    labels = {name: LABELS[name] for name in names if name in LABELS}
    model = build_model(spec, vocab_size=TOKENIZER.vocab_size, labels=labels)
    for i, variable in enumerate(model.weights):
        variable.assign(np.random.default_rng(i).normal(0, 0.5, variable.shape) + ("scale" in variable.path))
    return OpenedRun(RunDirectory(Path("tiny")), spec, TOKENIZER, model, labels, 0).answering


def near(one: Any, other: Any) -> bool:
    """Equal but for rounding, however deep."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(near, one, other))
    return one == pytest.approx(other, abs=1e-5) if isinstance(one, float) else one == other


@pytest.fixture(scope="module")
def everything() -> Any:
    return answerer(opened(*TASKS))


def test_no_answer_depends_on_what_else_is_asked(everything: Any) -> None:
    documents = [
        Document("Where does the [MASK] sleep?", TEXT * 3),
        Document(TEXT * 9),
        Document(""),
        Document("fox", ""),
        Document("[MASK] jumps"),
        *(Document("the dog " * n) for n in range(40)),
    ]
    together = everything(documents)
    for document, answer in zip(documents[:6], together, strict=False):
        assert near(everything([document])[0], answer), document


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_answer_depends_on_how_many_are_answered_at_once_nor_on_their_order(everything: Any, at_once: int) -> None:
    documents = [Document(TEXT[:n], TEXT * (n % 3 + 1) if n % 2 else None) for n in (3, 60, 1, 29, 44)]
    fewer = answerer(replace(opened(*TASKS), at_once=at_once))(documents[::-1])[::-1]
    assert all(near(one, other) for one, other in zip(everything(documents), fewer, strict=True))


def test_a_row_is_answered_by_the_tasks_that_can(everything: Any) -> None:
    one, two, three = everything([Document("fox"), Document("fox", "dog"), Document("fox [MASK]", "dog")])
    assert set(one) == {"class", "score", "ner", "rtd", "embedding"}
    assert set(two) - set(one) == {"nsp", "qa"}
    assert set(three) - set(two) == {"mlm"}
    assert json.loads(json.dumps(three)) == three
    for name, answer in three.items():
        assert list(answer_lines(answer)), name


def test_a_run_answers_one_text_or_two_as_it_learned() -> None:
    def asked(*columns: dict[str, str]) -> list[Any]:
        sources = {f"s{i}": {"jsonl": "a.jsonl", "columns": each} for i, each in enumerate(columns)}
        data = Data.model_validate({"train": sources, "max_length": 24})
        return answerer(replace(opened("class"), data=data, imported=False))([Document("fox"), Document("fox", "dog")])

    single, paired = {"text": "text", "label": "label"}, {"text": "text", "text_pair": "other", "label": "label"}
    one, two = asked(single)
    assert "class" in one and str(two).startswith('"fox": has two texts, and the model learned from one; leave --pair out')
    one, two = asked(paired)
    assert str(one).startswith('"fox": has one text, and two are needed; add --pair') and "class" in two
    assert all("class" in each for each in asked(single, paired))


def test_what_no_task_can_answer_is_said_with_the_reason() -> None:
    (error,) = answerer(opened("qa"))([Document("Who jumps?")])
    assert isinstance(error, DataError) and str(error).startswith('"Who jumps?": has one text, and two are needed')
    found, error = answerer(opened("mlm"))([Document("x [MASK]"), Document("Who jumps?", file="part.csv", line=7)])
    assert str(error) == "part.csv:7: has 0 masks; write [MASK], in just these letters, at 1 to 8 places" and "mlm" in found
    with pytest.raises(SpecError, match="lmkit generate"):
        answerer(opened("lm"))
    with pytest.raises(SpecError, match="task lm gives no answers to a text; lmkit generate"):
        answerer(opened("lm", "score"), ["lm"])
    with pytest.raises(SpecError, match=r"scor: is no task of this model; did you mean 'score'.; it has lm, score"):
        answerer(opened("lm", "score"), ["scor"])


def test_tokens_and_answers_stand_where_they_say(everything: Any) -> None:
    long = TEXT * 5
    answer = everything([Document("Who jumps?", long), Document(long)])
    ids, spans = TOKENIZER.spans([long])[0]
    tokens, words = answer[1]["rtd"]["tokens"], answer[1]["ner"]["words"]
    assert [[one["start"], one["end"]] for one in tokens] == spans.tolist() and len(ids) > 24
    assert [one["text"] for one in words] == re.findall(r"\w+|[.,]", long)
    assert all(long[one["start"] : one["end"]] == one["text"] for one in (*tokens, *words))
    for one in answer[1]["ner"]["entities"]:
        assert long[one["start"] : one["end"]] == one["text"] and one["label"] == "animal"
    spans = answer[0]["qa"]["spans"]
    assert all(long[one["start"] : one["end"]] == one["text"] for one in spans)
    assert answer[0]["qa"]["answer"] == spans[0]["text"]
    assert [one["probability"] for one in spans] == sorted((one["probability"] for one in spans), reverse=True)


def test_vectors_have_length_one_and_labels_sum_to_one(everything: Any) -> None:
    answer = everything([Document(TEXT, "dog")])[0]
    assert np.linalg.norm(answer["embedding"]["vector"]) == pytest.approx(1, abs=1e-5)
    for name in ("class", "nsp"):
        shares = answer[name]["probabilities"]
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5) and answer[name]["label"] == max(shares, key=shares.get)


@given(st.integers(0, 400), st.integers(1, 300))
def test_windows_keep_every_token_once(length: int, budget: int) -> None:
    ids = np.arange(length, dtype=np.int32)
    found = windows(ids, budget, wrapped(1000, 1001).row)
    kept = [i for window in found for i in range(*window.kept)]
    assert kept == list(range(length))
    for window in found:
        begin = window.row.begins[0]
        assert len(window.row.ids) <= budget + 2
        low, high = (begin + place - window.start for place in window.kept)
        assert window.row.ids[low:high].tolist() == list(range(*window.kept))


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([wrapped(1, 2), bare()]))
def test_spans_are_the_best_of_all_pairs(length: int, question: int, seed: int, template: Template) -> None:
    row = template.row(np.zeros(question, np.int32), np.zeros(length, np.int32))
    scores = np.random.default_rng(seed).normal(0, 2, (2, len(row.ids)))
    found, none = spans_of(scores, row, LONGEST, 3)
    inside = [0, *range(row.begins[1], row.begins[1] + length)]
    starts, ends = (np.exp(each[inside]) / np.exp(each[inside]).sum() for each in scores)
    pairs = [(starts[i + 1] * ends[j + 1], i, j) for i in range(length) for j in range(i, min(i + LONGEST, length))]
    assert found[0][0] == pytest.approx(max(pairs)[0])
    assert none == pytest.approx(starts[0] * ends[0])
    assert all(share == pytest.approx(starts[i + 1] * ends[j + 1]) and 0 <= j - i < LONGEST for share, i, j in found)


def test_a_long_text_costs_no_square_of_its_tokens() -> None:
    row = wrapped(1, 2).row(np.zeros(4, np.int32), np.zeros(4000, np.int32))
    scores = np.random.default_rng(0).normal(0, 2, (2, len(row.ids)))
    tracemalloc.start()
    found, _ = spans_of(scores, row, 30, 20)
    assert len(found) == 20 and tracemalloc.get_traced_memory()[1] < 4000 * 4000
    tracemalloc.stop()


def test_a_reader_is_told_that_there_is_no_answer() -> None:
    span = {"text": "fox", "start": 4, "end": 7, "probability": 0.1}
    none, fox = "no answer  (0.900)", "fox  (4-7, 0.100)"
    assert list(answer_lines({"answer": "", "spans": [span], "no_answer": 0.9})) == [none, fox]
    assert list(answer_lines({"answer": "", "spans": [], "no_answer": 0.9})) == [none]
    assert list(answer_lines({"answer": "fox", "spans": [span], "no_answer": 0.9})) == [fox]


def test_an_answer_is_empty_where_none_is_likelier_than_the_threshold() -> None:
    documents = [Document("Who jumps?", TEXT), Document("dog", TEXT * 4), Document("Who?", "")]
    free = answerer(opened("qa"))(documents)
    for share in (0.0, 0.3, 0.6, 1.0):
        strict = opened("qa")
        task = strict.tasks["qa"].model_copy(update={"no_answer_threshold": share})
        strict = replace(strict, tasks={"qa": task})
        for before, after in zip(free, answerer(strict)(documents), strict=True):
            none = before["qa"]["no_answer"]
            assert 0 <= none <= 1 and after["qa"]["answer"] == ("" if none > share else before["qa"]["answer"])
            assert near(after["qa"]["spans"], before["qa"]["spans"])
    assert free[2]["qa"] == {"answer": "", "spans": [], "no_answer": 1.0}


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["B-x", "I-x", "B-x", "O", "I-x"], ["old fox", "dog", "cat"]),
        (["I-x", "I-x", "B-x", "I-y", "O"], ["old fox", "dog", "and"]),
        (["B-x", "E-x", "S-x", "O", "S-y"], ["old fox", "dog", "cat"]),
        (["O", "O", "O", None, "O"], []),
    ],
)
def test_entities_are_those_of_every_scheme(labels: list[str | None], found: list[str]) -> None:
    assert [one["text"] for one in entities(ANIMALS, labelled(labels), tagged=True)] == found


def test_words_of_one_bare_label_belong_together() -> None:
    found = entities(ANIMALS, labelled(["y", "y", "O", "y", "z"]), tagged=False)
    assert [(one["text"], one["label"]) for one in found] == [("old fox", "y"), ("and", "y"), ("cat", "z")]
    assert found[0]["probability"] == pytest.approx(0.5)


ANIMALS = "old fox dog and cat"


def labelled(labels: list[str | None]) -> list[Any]:
    edges = [(0, 3), (4, 7), (8, 11), (12, 15), (16, 19)]
    return [{"label": label, "start": a, "end": b, "probability": i} for i, (label, (a, b)) in enumerate(zip(labels, edges, strict=True))]


def test_given_words_are_answered_as_they_were_given(everything: Any) -> None:
    text, places = join_words(["the", "quickest", "fox-like", "dog", "\u200b"])
    given, running = everything([Document(text, words=places), Document(text)])
    assert [(one["start"], one["end"]) for one in given["ner"]["words"]] == list(places)
    assert [one["text"] for one in running["ner"]["words"]][:5] == ["the", "quickest", "fox", "-", "like"]
    assert near(given["ner"]["words"][2]["probability"], running["ner"]["words"][2]["probability"])
    assert given["ner"]["words"][-1]["label"] is None  # its only character is left out by the tokenizer


def test_rows_are_cut_to_what_the_tokenizer_says() -> None:
    model = opened("embedding")
    short = replace(model, tokenizer=train_tokenizer(WordPiece(vocab_size=120, lowercase=True), [TEXT * 9]))
    short.tokenizer.max_length = 6
    answer = answerer(short)
    cut, whole = (answer([Document(text)])[0]["embedding"] for text in ("the quick brown fox", "the quick brown fox jumps over"))
    assert near(cut, whole)
