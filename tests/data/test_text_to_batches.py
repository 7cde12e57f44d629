"""From files to batches through the real tokenizer and cache: what the model sees is the text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.data.batches import Batches
from lmkit.data.build import build_batches
from lmkit.data.cache import open_cache
from lmkit.data.spec import Data
from lmkit.errors import DataError
from lmkit.tasks.spec import AnyTask, CausalLm, Classification, MaskedLm, NextSentence
from lmkit.text.build import train_tokenizer
from lmkit.text.spec import Bpe, Character, WordPiece
from lmkit.text.tokenizer import Tokenizer

POEM = [f"The {a} {b} on the {c}." for a in ("cat", "dog", "old man") for b in ("sat", "slept", "sang") for c in ("mat", "hill", "boat")]


def prepared(folder: Path, tokenizer_spec: Any, tasks: dict[str, AnyTask], **words: Any) -> tuple[Batches, Tokenizer]:
    data = Data.model_validate({"max_length": 32, **words})
    tokenizer = train_tokenizer(tokenizer_spec, POEM)
    caches = {
        name: open_cache(source, tokenizer, directory=folder / "cache", needs_sentences=True, base=folder)
        for name, source in data.train.items()
    }
    return build_batches(data, tasks, tokenizer, caches, seed=1, batch_size=4), tokenizer


def lines(folder: Path) -> dict[str, Any]:
    (folder / "poem.txt").write_text("\n".join(POEM))
    return {"train": {"text": "poem.txt", "document": "line"}}


def test_causal_rows_decode_to_the_lines_of_the_file(tmp_path: Path) -> None:
    batches, tokenizer = prepared(tmp_path, Character(), {"lm": CausalLm()}, **lines(tmp_path))
    found = []
    for step in range(batches.steps_per_epoch):
        batch = batches.train(step)
        for tokens, segments in zip(batch["tokens"], batch["segments"], strict=True):
            found += [tokenizer.decode(tokens[segments == s]) for s in range(1, segments.max() + 1)]
    assert sorted(found) == sorted(POEM)


def test_hidden_tokens_put_back_give_the_text(tmp_path: Path) -> None:
    batches, tokenizer = prepared(
        tmp_path, WordPiece(vocab_size=60), {"mlm": MaskedLm(whole_word=True), "nsp": NextSentence()}, **lines(tmp_path)
    )
    batch = batches.train(0)
    rows, places = np.nonzero(batch["mlm/weights"])
    assert np.any(batch["tokens"] == tokenizer.mask)
    batch["tokens"][rows, batch["mlm/where"][rows, places]] = batch["mlm/labels"][rows, places]
    whole = [" ".join(line.split()) for line in POEM]
    for tokens, types, label in zip(batch["tokens"], batch["token_types"], batch["nsp/labels"], strict=True):
        if (tokens == tokenizer.pad).all():
            continue
        first, second = (tokenizer.decode(tokens[(types == kind) & (tokens != tokenizer.pad)]) for kind in (0, 1))
        assert any(line.startswith(first) for line in whole)
        assert label == 1 or f"{first} {second}" in whole or f"{first}{second}" in whole


def test_labels_of_a_table_reach_the_batch_beside_their_text(tmp_path: Path) -> None:
    rows = [(line, "cat" if "cat" in line else "other") for line in POEM]
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    source = {"tsv": "rows.tsv", "columns": {"text": "text", "label": "label"}}
    batches, tokenizer = prepared(tmp_path, Bpe(vocab_size=300), {"c": Classification()}, train=source, packing=False)
    assert batches.labels == {"c": ("cat", "other")}
    seen = 0
    for step in range(batches.steps_per_epoch):
        batch = batches.train(step)
        for tokens, label, weight in zip(batch["tokens"], batch["c/labels"], batch["c/weights"], strict=True):
            seen += weight > 0
            assert not weight or ("cat" in tokenizer.decode(tokens)) == (label == 0)
    assert seen == len(POEM)


def test_a_label_outside_the_declared_ones_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("text\tlabel\na cat\tyes\na dog\tno\na man\tperhaps\n")
    source = {"tsv": "rows.tsv", "columns": {"text": "text", "label": "label"}}
    with pytest.raises(DataError, match=r'rows.tsv:4: tasks.c.labels: label "perhaps" is not one of yes, no'):
        prepared(tmp_path, Character(), {"c": Classification(labels=("yes", "no"))}, train=source)
