"""Scores are those of the documents that validation rows are made of, whatever else stands in the files."""

import json
from pathlib import Path
from typing import Any

import pytest

from lmkit.data.cache import open_cache
from lmkit.inference.scoring import parts_of, spread
from lmkit.spec_file.load import load
from lmkit.text.build import train_tokenizer
from lmkit.text.spec import Character

SPEC = """
name: scored
tokenizer: {kind: character}
model: {kind: KIND, num_layers: 1, hidden_size: 8, num_heads: 2}
data: {train: SOURCE, validation: SOURCE, max_length: 16}
tasks: {t: TASK}
training: {steps: 1, batch_size: 1, optimizer: {kind: adamw, learning_rate: 0.01}}
"""
TEXTS = [f"text {i}" for i in range(9)]
BLANK = (2, 3, 7)
LEFT = [text for i, text in enumerate(TEXTS) if i not in BLANK]


def _aligned(folder: Path) -> str:
    (folder / "a.en").write_text("\n".join(TEXTS))
    (folder / "a.de").write_text("\n".join("" if i in BLANK else text for i, text in enumerate(TEXTS)))
    return "{text: a.en, target: a.de}"


def _questions(folder: Path) -> str:
    def record(i: int, text: str) -> dict[str, Any]:
        return {"text": text, "text_pair": text, "answers": [{"text": "text", "answer_start": int(i in BLANK)}]}

    (folder / "a.jsonl").write_text("".join(json.dumps(record(i, text)) + "\n" for i, text in enumerate(TEXTS)))
    return "{jsonl: a.jsonl, columns: {text: text, text_pair: text_pair, answers: answers}, wrong_answers: skip}"


@pytest.mark.parametrize(
    ("write", "kind", "task"), [(_aligned, "encoder_decoder", "seq2seq"), (_questions, "encoder", "question_answering")]
)
def test_records_that_the_cache_leaves_out_are_not_scored(tmp_path: Path, monkeypatch: Any, write: Any, kind: str, task: str) -> None:
    monkeypatch.chdir(tmp_path)
    text = SPEC.replace("SOURCE", write(tmp_path)).replace("KIND", kind).replace("TASK", task)
    (tmp_path / "spec.yaml").write_text(text)
    spec = load(tmp_path / "spec.yaml").spec
    cache = open_cache(spec.data.validation, train_tokenizer(Character(), TEXTS), directory=tmp_path / "cache")  # type: ignore[arg-type]
    caches = {"validation": cache}
    (part,) = parts_of(spec.tasks, spec.data, caches)
    assert [document.text for document in part.documents] == LEFT and part.size == len(LEFT)
    (some,) = spread(parts_of(spec.tasks, spec.data, caches), 3)
    assert [document.text for document in some.documents] == [LEFT[0], LEFT[2], LEFT[5]]
