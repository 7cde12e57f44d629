"""Entities of a Hugging Face folder are those of transformers' pipeline where each word has the label of its first token."""

import json
import shutil
from pathlib import Path

import pytest

from lmkit.cli import main

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOKENIZER = Path(__file__).parents[1] / "checkpoints" / "hub" / "folders" / "minilm_st"
TEXTS = [
    "The quick brown fox, Dr. O'Neill of Zürich, jumps over 12.5 lazy dogs—unbelievable!",
    "北京欢迎你, said Ann-Marie (twice).",
    "x",
]


@pytest.mark.parametrize("labels", [("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), ("O", "PER", "LOC", "MISC")])
def test_entities_are_those_of_the_pipeline(labels: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(TOKENIZER)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
        id2label=dict(enumerate(labels)),
    )
    model = transformers.BertForTokenClassification(config).eval()
    model.save_pretrained(tmp_path / "ner")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, tmp_path / "ner" / name)
    expected = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first")(TEXTS)
    arguments = [argument for text in TEXTS for argument in ("--text", text)]
    assert main(["predict", str(tmp_path / "ner"), "--json", *arguments]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(map(len, expected)) > 3
    for theirs, answer in zip(expected, answers, strict=True):
        (ours,) = (value for key, value in answer.items() if key != "text")
        found = [(one["label"], one["start"], one["end"], one["probability"]) for one in ours["entities"]]
        assert found == [(one["entity_group"], one["start"], one["end"], pytest.approx(float(one["score"]), abs=1e-4)) for one in theirs]
