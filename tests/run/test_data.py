"""`lmkit data` says what was read and shows the rows that the model will see."""

import json
import re
from pathlib import Path

import pytest

from lmkit.errors import DataError
from lmkit.run.console import Console
from lmkit.run.data import data

MODEL = "model: {kind: KIND, num_layers: 1, hidden_size: 8, num_heads: 2}\n"
TRAINING = "training: {steps: 2, batch_size: 2, optimizer: {kind: sgd, learning_rate: 0.1}}\n"
DECODER, ENCODER = (MODEL.replace("KIND", kind) + TRAINING for kind in ("decoder", "encoder"))
SENTENCES = "The cat sat here. A dog ran there! Was it a cat? It was no dog. "


def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, *, colour: bool = False, examples: int = 2) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(spec)
    out: list[str] = []
    err: list[str] = []
    console = Console(out=out.append, err=err.append, write=out.append, is_terminal=colour)
    assert data(tmp_path / "spec.yaml", overrides=[], examples=examples, console=console) == 0
    return "\n".join(out), "\n".join(err)


def test_a_language_model_sees_text_whose_every_token_but_the_first_is_predicted(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(SENTENCES * 20)
    spec = "name: a\ntokenizer: {kind: character}\n"
    spec += "data: {train: {text: a.txt}, validation: {holdout: 10%}, max_length: 32}\ntasks: {lm: causal_lm}\n"
    out, err = seen(tmp_path, monkeypatch, spec + DECODER)
    assert f"train: 1 documents in 1 file, {len(SENTENCES) * 20:,} bytes, {len(SENTENCES) * 20:,} tokens, 1.00 bytes a token" in out
    assert re.search(r"train lm: \d+ rows, .* padding; batches by row length: \d+ of 32", out)
    assert "validation lm: " in out
    row = re.search(r"\{(.)\}(.{31})\n  32 tokens; 1 segment; 0 padding", out)
    assert row is not None
    assert row[1] + row[2] in (SENTENCES * 20)
    assert "training the tokenizer" in err


def test_hidden_tokens_stand_beside_what_is_to_be_predicted(tmp_path, monkeypatch):
    for name in "abcdef":
        (tmp_path / f"{name}.txt").write_text(SENTENCES * 5)
    spec = "name: a\ntokenizer: {kind: wordpiece, vocab_size: 100}\n"
    spec += "data: {train: {text: '*.txt'}, max_length: 24}\ntasks: {mlm: masked_lm, nsp: next_sentence}\n"
    out, _ = seen(tmp_path, monkeypatch, spec + ENCODER, examples=2)
    assert re.search(
        r"  \[CLS\] .*\{\[MASK\] > [a-zA-Z.?!]+\}.*\[SEP\]\n  \d+ tokens; 1 segment; \d+ padding; nsp: [01] \((follows|from elsewhere)\)",
        out,
    )
    assert "120 sentences" in out


def test_labels_are_counted_and_shown_by_name_and_repeats_are_a_warning(tmp_path, monkeypatch):
    rows = [("good cat", "yes"), ("bad cat", "no"), ("fine dog", "yes"), ("", "no")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t, "l": y}) + "\n" for t, y in rows))
    (tmp_path / "b.jsonl").write_text('{"text": "bad cat", "l": "no"}\n{"text": "new", "l": "yes"}\n')
    spec = (
        "name: a\ntokenizer: {kind: character}\ndata: {train: {jsonl: a.jsonl, columns: {text: text, label: l}}, "
        "validation: {jsonl: b.jsonl, columns: {text: text, label: l}}, max_length: 16}\ntasks: {c: classification}\n"
    )
    out, err = seen(tmp_path, monkeypatch, spec + ENCODER)
    assert "  labels: no 1 (33.3%), yes 2 (66.7%)\n  left out: 1 empty" in out
    assert re.search(r"; c: [01] \((yes|no)\)", out)
    assert re.search(r"warning: 1 of 2 different validation documents .*b\.jsonl:1 = .*a\.jsonl:2", err)


def test_a_terminal_gets_colours_and_a_pipe_does_not(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(SENTENCES * 20)
    spec = "name: a\ntokenizer: {kind: character}\ndata: {train: {text: a.txt}, max_length: 32}\ntasks: {lm: causal_lm}\n" + DECODER
    assert "\x1b[" in seen(tmp_path, monkeypatch, spec, colour=True)[0]
    assert "\x1b[" not in seen(tmp_path, monkeypatch, spec)[0]


def test_the_first_bad_record_ends_the_scan_with_its_place(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": 3}\n')
    spec = "name: a\ntokenizer: {kind: character}\ndata: {train: {jsonl: a.jsonl}, max_length: 32}\ntasks: {lm: causal_lm}\n"
    with pytest.raises(DataError, match=r"a\.jsonl:2: text: expected text, got the number 3"):
        seen(tmp_path, monkeypatch, spec + DECODER)
