"""What simple means reach: their figures on data that tell what these must be."""

import json
import math
import runpy
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lmkit.errors import DataError

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "baselines.py"))
BODY = """\
name: baselines
tokenizer: {kind: character}
model: {kind: %s, num_layers: 1, hidden_size: 8, num_heads: 2, position: rotary, feed_forward: {kind: dense, intermediate_size: 8}}
training: {steps: 1, batch_size: 1, optimizer: {kind: adamw, learning_rate: 1e-3}}
"""


def figures(folder: Path, task: str, train: Sequence[Any], test: Sequence[Any], *, body: str = "encoder") -> dict[str, Any]:
    """The values of a task's baselines, by `baseline/figure`; a role of the records is a field of that name."""
    for name, records in (("train", train), ("test", test)):
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    columns = "{" + ", ".join(f"{role}: {role}" for role in train[0]) + "}"
    sources = {name: f"{{jsonl: {folder}/{file}.jsonl, columns: {columns}}}" for name, file in (("train", "train"), ("validation", "test"))}
    data = "data:\n" + "".join(f"  {name}: {source}\n" for name, source in sources.items())
    (folder / "spec.yaml").write_text(BODY % body + data + f"tasks: {{it: {task}}}\n", encoding="utf-8")
    return {name.removeprefix("it/"): figure.value for name, figure in TOOL["scores"](folder / "spec.yaml").items()}


def test_the_majority_is_right_as_often_as_its_label_occurs_and_words_tell_the_rest(tmp_path: Path) -> None:
    records = [{"text": "a fine film", "label": "good"}] * 6 + [{"text": "a dull play", "label": "bad"}] * 4
    found = figures(tmp_path, "{kind: classification, metrics: [accuracy]}", records, records[3:8])
    assert found == {"majority/accuracy": 0.6, "bag of words/accuracy": 1.0}


def test_each_of_several_labels_has_words_of_its_own_and_the_commonest_one_is_right_where_it_is(tmp_path: Path) -> None:
    train = [{"text": "a red ball", "labels": ["red"]}, {"text": "a big ball", "labels": ["big"]}, {"text": "a ball", "labels": []}] * 4
    both = {"text": "a big red ball", "labels": ["big", "red"]}
    found = figures(tmp_path, "{kind: classification, multi_label: true, metrics: [accuracy, f1_micro]}", train, [*train[:3], both])
    assert found["majority/accuracy"] == 0.25 and found["bag of words/accuracy"] == 1
    assert found["most frequent label/f1_micro"] == 0.5  # 2 of the 4 answers, which are 2 of the 4 labels


def test_the_choice_that_shares_rare_words_is_the_likest(tmp_path: Path) -> None:
    known = [{"text": f"dogs see {name}", "choices": ["cats", "foxes"], "label": 0} for name in ("owls", "cows", "elks")] * 10
    asked = [{"text": "dogs see elks", "choices": ["dogs see", "elks"], "label": 1}]
    found = figures(tmp_path, "{kind: multiple_choice}", known, asked)
    assert found == {"majority/accuracy": 0, "most shared words/accuracy": 0, "tf-idf cosine/accuracy": 1}


def test_characters_tell_texts_apart_that_are_written_without_spaces(tmp_path: Path) -> None:
    train = [{"text": "房间很好", "label": "1"}, {"text": "房间很差", "label": "0"}] * 4
    test = [{"text": "早餐好", "label": "1"}, {"text": "早餐差", "label": "0"}]
    assert figures(tmp_path, "{kind: classification, metrics: [accuracy]}", train, test)["bag of words/accuracy"] == 1


def test_what_two_texts_share_tells_pairs_apart_whose_words_are_new(tmp_path: Path) -> None:
    def pairs(words: str) -> list[dict[str, str]]:
        same = [{"text": f"{a} {b}", "text_pair": f"{b} {a}", "label": "same"} for a, b in pairwise(words)]
        other = [{"text": f"{a} {b}", "text_pair": "x y", "label": "other"} for a, b in pairwise(words)]
        return same + other

    found = figures(tmp_path, "{kind: classification, metrics: [accuracy]}", pairs("abcdefgh"), pairs("acegbdfh"))
    assert found["bag of words/accuracy"] == 1


@pytest.mark.parametrize("kind", ["kind: regression", "kind: sentence_embedding, loss: cosine"])
def test_values_that_grow_with_the_shared_words_are_ranked_perfectly(tmp_path: Path, kind: str) -> None:
    words = ["one", "two", "three", "four", "five"]
    records = [{"text": " ".join(words), "text_pair": " ".join(words[:n]), "value": n / 5} for n in range(6)]
    assert figures(tmp_path, f"{{{kind}, metrics: [spearman]}}", records, records)["tf-idf cosine/spearman"] == pytest.approx(1)


def test_regression_of_single_texts_is_by_their_words_alone(tmp_path: Path) -> None:
    records = [{"text": "very good", "value": 2.0}, {"text": "good", "value": 1.0}, {"text": "bad", "value": -1.0}]
    assert figures(tmp_path, "{kind: regression, metrics: [spearman]}", records, records) == {"bag of words/spearman": pytest.approx(1)}


def test_a_word_has_its_most_frequent_tag_and_an_unknown_one_that_of_all(tmp_path: Path) -> None:
    train = [{"words": ["the", "set", "is", "set"], "tags": ["D", "N", "V", "V"]}, {"words": ["set", "net"], "tags": ["N", "N"]}]
    test = [{"words": ["the", "set", "new"], "tags": ["D", "V", "N"]}]
    found = figures(tmp_path, "{kind: token_classification, metrics: [accuracy]}", train, test)
    assert found == {"most frequent tag/accuracy": pytest.approx(2 / 3)}


def test_the_answer_is_the_sentence_that_shares_most_words_with_the_question(tmp_path: Path) -> None:
    text = "Rain fell. Dogs bark at night."
    record = {"text": "When do dogs bark?", "text_pair": text, "answers": [{"text": "Dogs bark at night.", "answer_start": 11}]}
    found = figures(tmp_path, "{kind: question_answering, metrics: [exact_match]}", [record], [record])
    assert found == {"first sentence/exact_match": 0, "most shared words/exact_match": 1}


def test_a_copy_and_a_first_sentence_are_perfect_where_they_are_the_reference(tmp_path: Path) -> None:
    record = {"text": "All is said here. More follows.", "target": ["All is said here.", "All is said here. More follows."]}
    once = {**record, "target": record["target"][1]}
    found = figures(tmp_path, "{kind: seq2seq, metrics: [rouge1]}", [once], [once], body="decoder")
    assert found["copy/rouge1"] == 1 > found["first sentence/rouge1"]
    assert figures(tmp_path, "{kind: seq2seq, metrics: [rouge1]}", [record], [record], body="decoder")["first sentence/rouge1"] == 1


def test_the_longer_or_the_shorter_answer_is_taken_for_the_better(tmp_path: Path) -> None:
    records = [{"prompt": "?", "chosen": a, "rejected": b} for a, b in (("long", "no"), ("no", "long"), ("a lot", "few"), ("as", "so"))]
    found = figures(tmp_path, "{kind: reward}", records, records, body="decoder")
    assert found == {"longer answer/accuracy": 0.5, "shorter answer/accuracy": 0.25}


def test_rows_that_are_held_out_of_the_training_data_need_a_file(tmp_path: Path) -> None:
    figures(tmp_path, "{kind: classification}", [{"text": "a", "label": "0"}, {"text": "b", "label": "1"}], [{"text": "a", "label": "0"}])
    spec = tmp_path / "spec.yaml"
    scores = TOOL["scores"]
    with pytest.raises(DataError, match="--data"):
        scores(spec, ["data.validation={holdout: 10%}"])
    assert scores(spec, ["data.validation={holdout: 10%}"], tmp_path / "test.jsonl")["it/majority/accuracy"].value == 1


def test_two_letters_that_are_equally_frequent_are_worth_log_two_each(tmp_path: Path) -> None:
    found = figures(tmp_path, "causal_lm", [{"text": "abcd" * 9}], [{"text": "ab" * 500}], body="decoder")
    assert found == {"unigram entropy/loss": pytest.approx(math.log(2), abs=0.02)}


def test_a_task_without_a_baseline_has_no_figure(tmp_path: Path) -> None:
    assert figures(tmp_path, "next_sentence", [{"text": "a"}], [{"text": "b"}]) == {}
