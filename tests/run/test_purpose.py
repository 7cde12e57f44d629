"""`lmkit init` for records of every known kind writes a spec of the right task, which passes check, and trains."""

import json
from pathlib import Path
from typing import Any

import pytest

from lmkit.cli import main
from lmkit.run.purpose import purpose_of
from lmkit.spec_file.load import load

TALK = [{"role": "user", "content": "say hi"}, {"role": "assistant", "content": "hi there"}]
SHARED = [{"from": "human", "value": "say hi"}, {"from": "gpt", "value": "hi there"}]
ANSWERS = {"text": ["Bob"], "answer_start": [6]}
CHOICES = {"text": ["a dog", "a cat"], "label": ["A", "B"]}
KINDS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("causal_lm", {"id": 1, "messages": TALK}, {"messages": "messages"}),
    ("causal_lm", {"conversations": SHARED}, {"messages": "conversations"}),
    ("causal_lm", {"prompt": "say hi", "completion": "hi there"}, {"prompt": "prompt", "response": "completion"}),
    (
        "causal_lm",
        {"instruction": "say", "input": "", "output": "hi there", "text": "say: hi there"},
        {"prompt": "instruction", "response": "output", "input": "input"},
    ),
    (
        "causal_lm",
        {"instruction": "say", "context": "", "response": "hi there", "category": "qa"},
        {"prompt": "instruction", "response": "response", "input": "context"},
    ),
    ("causal_lm", {"question": "how many are there", "answer": "there are 3"}, {"prompt": "question", "response": "answer"}),
    ("dpo", {"prompt": "say hi", "chosen": "hi", "rejected": "no"}, {"chosen": "chosen", "rejected": "rejected", "prompt": "prompt"}),
    ("dpo", {"chosen": TALK, "rejected": TALK}, {"chosen": "chosen", "rejected": "rejected"}),
    (
        "question_answering",
        {"question": "who is it", "context": "it is Bob", "answers": ANSWERS},
        {"text": "question", "text_pair": "context", "answers": "answers"},
    ),
    ("token_classification", {"tokens": ["EU", "goes"], "ner_tags": ["B-ORG", "O"]}, {"words": "tokens", "tags": "ner_tags"}),
    ("token_classification", {"tokens": '["EU", "goes"]', "tags": '["NOUN", "VERB"]'}, {"words": "tokens", "tags": "tags"}),
    (
        "multiple_choice",
        {"question": "which", "choices": CHOICES, "answerKey": "B"},
        {"text": "question", "choices": "choices", "label": "answerKey"},
    ),
    ("regression", {"sentence1": "a", "sentence2": "b", "score": "5"}, {"text": "sentence1", "value": "score", "text_pair": "sentence2"}),
    ("regression", {"sentence1": "a", "sentence2": "b", "label": 3.8}, {"text": "sentence1", "value": "label", "text_pair": "sentence2"}),
    ("sentence_embedding", {"anchor": "a b", "positive": "c d"}, {"text": "anchor", "text_pair": "positive"}),
    ("classification", {"question": "a", "sentence": "b", "label": "no"}, {"text": "question", "label": "label", "text_pair": "sentence"}),
    ("classification", {"text": "a b", "target": 4}, {"text": "text", "label": "target"}),
    ("classification", {"text": "a b", "label": None}, {"text": "text", "label": "label"}),
    ("classification", {"text": "a b", "labels": ["x", "y"]}, {"text": "text", "labels": "labels"}),
    ("seq2seq", {"text": "a long text", "target": "ein langer Text"}, {"text": "text", "target": "target"}),
    ("seq2seq", {"document": "a long text", "summary": "short"}, {"text": "document", "target": "summary"}),
]


@pytest.mark.parametrize(("kind", "record", "columns"), KINDS)
def test_init_writes_the_task_that_records_are_for(kind: str, record: dict[str, Any], columns: dict[str, str], tmp_path: Path) -> None:
    path, spec = tmp_path / "data.jsonl", tmp_path / "spec.yaml"
    path.write_text(json.dumps(record) + "\n")
    assert main(["init", str(path), "-o", str(spec)]) == 0
    assert main(["check", "--strict", str(spec)]) == 0
    words = load(spec).spec
    assert [task.kind for task in words.tasks.values()] == [kind]
    assert getattr(words.data.train["train"], "columns", None) == columns


def test_what_no_kind_fits_is_a_language_model_of_the_longest_text() -> None:
    purpose, columns = purpose_of({"url": "u", "story": "a long text", "n": 12345678901234567890})
    assert (purpose.task, columns) == ("lm: causal_lm", {"text": "story"})


def test_init_sees_the_fields_of_a_parquet_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"words": [["EU", "goes"]], "ner": [["B-ORG", "O"]]}), tmp_path / "a.parquet")
    assert main(["init", str(tmp_path / "a.parquet")]) == 0
    assert "columns: {words: words, tags: ner}" in capsys.readouterr().out


def test_what_init_writes_for_preferences_trains(tmp_path: Path) -> None:
    lines = [{"prompt": f"say {n}", "chosen": f"{n} it is", "rejected": "no I will not"} for n in range(40)]
    path, spec = tmp_path / "data.jsonl", tmp_path / "spec.yaml"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    small = ["model.num_layers=1", "model.hidden_size=16", "model.num_heads=2", "tokenizer.vocab_size=300", "data.max_length=48"]
    assert main(["init", str(path), "-o", str(spec)]) == 0
    assert main(["train", str(spec), "--run-dir", str(tmp_path / "run"), *small, "training.batch_size=8", "training.epochs=1"]) == 0
