"""Fine-tuning goes the way of transformers and torch: equal losses at each step, from equal weights on equal batches."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
FOLDERS = ROOT / "tests" / "checkpoints" / "hub" / "folders"
STEPS = 6
WORDS = ["the", "first", "answer", "is", "not", "the", "last", "one", "Paris"]


def records() -> list[dict[str, Any]]:
    found = []
    for i in range(16):
        words = [WORDS[(i * k + k) % len(WORDS)] for k in range(1, 4 + i % 5)]
        context = " ".join([*words, "here", WORDS[i % 9], "stands"])
        answers = [{"text": "stands", "answer_start": context.index("stands")}] if i % 4 else []
        tags = ["B" if word == "the" else "O" for word in words]
        found.append(
            {"text": " ".join(words), "words": words, "tags": tags, "label": i % 3, "value": i / 8, "context": context, "answers": answers}
        )
    return found


TASKS = {
    "classification": ("minilm_st", {"text": "text", "label": "label"}, {}),
    "regression": ("minilm_st", {"text": "text", "text_pair": "context", "value": "value"}, {}),
    "token_classification": ("minilm_st", {"words": "words", "tags": "tags"}, {}),
    "question_answering": ("minilm_st", {"text": "text", "text_pair": "context", "answers": "answers"}, {"stride": 4}),
    "causal_lm": ("gpt2_hub_layout", {"text": "text"}, {}),
    "seq2seq": ("t5", {"text": "text", "target": "context"}, {}),
}


@pytest.mark.parametrize("kind", TASKS)
def test_losses_are_those_of_transformers(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder, columns, words = TASKS[kind]
    Path("rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records()))
    spec = {
        "name": "parity",
        "model": {"from": str(FOLDERS / folder)},
        "data": {"train": {"jsonl": "rows.jsonl", "columns": columns}, "max_length": 20, "packing": False, "buckets": 1},
        "tasks": {"task": {"kind": kind, **words}},
        "training": {
            "steps": STEPS,
            "batch_size": 8,
            "optimizer": {
                "kind": "adamw",
                "learning_rate": {"kind": "linear", "peak": 1e-3, "warmup": "20%"},
                "weight_decay": 0.1,
                "clip_norm": 1.0,
            },
        },
    }
    Path("spec.yaml").write_text(json.dumps(spec))
    curves = runpy.run_path(str(ROOT / "tools" / "parity.py"))["curves"]
    ours, theirs = curves(Path("spec.yaml"), [], STEPS, tmp_path)
    assert len(ours) == STEPS and ours[-1] < ours[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
