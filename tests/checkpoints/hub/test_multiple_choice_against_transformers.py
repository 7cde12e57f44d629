"""Models that choose among texts: one row of ours is a batch of pairs of theirs, with the same logits, loss and bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.cli import main
from lmkit.run.console import Console
from lmkit.run.open import open_trained
from lmkit.text.build import train_tokenizer
from lmkit.text.export import huggingface_files
from lmkit.text.spec import Bpe
from lmkit.text.template import joined_rows

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOKENIZER = train_tokenizer(Bpe(vocab_size=300), ["the quick brown fox jumps over the lazy dog " * 20])
QUIET = Console(out=lambda line: None, err=lambda line: None, write=lambda text: None)
BASE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "max_position_embeddings": 60}
PADDED = {**BASE, "pad_token_id": 0, "type_vocab_size": 1}
CASES = [
    ("Bert", {**BASE, "pad_token_id": 0}),
    ("Roberta", PADDED),
    ("XLMRoberta", PADDED),
    ("Camembert", PADDED),
    ("DistilBert", {"dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 60}),
    ("MPNet", {**BASE, "pad_token_id": 1}),
    ("Albert", {**BASE, "embedding_size": 8}),
]
TYPED = ("Bert", "Albert")  # know two types of tokens


@pytest.mark.parametrize(("name", "config"), CASES, ids=[name for name, _ in CASES])
def test_a_row_of_segments_is_their_batch_of_pairs(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{name}ForMultipleChoice")(getattr(transformers, f"{name}Config")(vocab_size=300, **config)).eval()
    with torch.no_grad():
        for key, parameter in theirs.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (key.endswith("weight") and parameter.ndim == 1))
    theirs.save_pretrained(tmp_path / "in")
    for file, data in huggingface_files(TOKENIZER).items():
        (tmp_path / "in" / file).write_bytes(data)
    texts = ["the fox", "a lazy dog jumps"]
    choices = [["over", "the quick", "brown dog jumps"], ["fox over the dog", "q"]]
    opened = open_trained(tmp_path / "in", QUIET)
    (task,) = opened.spec.tasks
    head, labels = opened.model.heads[task], np.array([2, 0])
    for text, each, label in zip(texts, choices, labels, strict=True):
        rows = opened.tokenizer.rows([text] * len(each), each)
        width = max(len(row.ids) for row in rows)
        pairs = {key: np.zeros((1, len(each), width), np.int64) for key in ("input_ids", "attention_mask", "token_type_ids")}
        for i, row in enumerate(rows):
            pairs["input_ids"][0, i, : len(row.ids)] = row.ids
            pairs["attention_mask"][0, i, : len(row.ids)] = 1
            pairs["token_type_ids"][0, i, : len(row.ids)] = row.types
        if name not in TYPED:
            del pairs["token_type_ids"]
        with torch.no_grad():
            expected = theirs(**{key: torch.tensor(value) for key, value in pairs.items()}, labels=torch.tensor([label]))
        joined = joined_rows(rows)
        segments = np.searchsorted(joined.segments, np.arange(len(joined.ids)), side="right")
        batch = {
            "tokens": joined.ids[None],
            "segments": segments[None].astype(np.int32),
            "positions": (np.arange(len(joined.ids)) - np.array(joined.segments)[segments - 1])[None].astype(np.int32),
            "token_types": joined.types[None] * (name in TYPED),
            f"{task}/labels": np.array([label], np.int32),
            f"{task}/choices": np.array([[1] * len(each) + [0]], np.float32),
            f"{task}/weights": np.ones(1, np.float32),
        }
        hidden = opened.model.hidden(batch, causal=None)
        found = np.asarray(head.among(hidden, batch["segments"], batch[f"{task}/choices"]))[0, : len(each)]
        np.testing.assert_allclose(found, expected.logits[0].numpy(), atol=2e-5)
        assert float(head(hidden, batch=batch)["loss"][0]) == pytest.approx(expected.loss.item(), abs=1e-5)
    assert main(["export", str(tmp_path / "in"), str(tmp_path / "out"), "--format", "huggingface"]) == 0
    assert (tmp_path / "in" / "model.safetensors").read_bytes() == (tmp_path / "out" / "model.safetensors").read_bytes()
