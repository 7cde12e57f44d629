"""Tokenizers of the shared checkpoints: every recorded row, and what is written opens equally."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from lmkit.text.build import load_tokenizer
from lmkit.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every shared checkpoint that reads text."""
    home = tmp_path_factory.mktemp("hf")
    subprocess.run([str(Path(os.environ["LMKIT_SHARED"]).resolve() / "unpack"), str(home), "hf_fixtures"], check=True)
    return sorted(path.parent for path in home.rglob("tokenizer_cases.json"))


def test_rows_offsets_and_texts_are_those_recorded(folders: list[Path]) -> None:
    assert len(folders) >= 37
    for folder in folders:
        tokenizer = load_tokenizer(folder)
        for case in json.loads((folder / "tokenizer_cases.json").read_text(encoding="utf-8")):
            _compare(tokenizer, case, folder.name)


def _compare(tokenizer: Tokenizer, case: dict, name: str) -> None:
    texts = [case["text"]] if case["pair"] is None else [case["text"], case["pair"]]
    row = tokenizer.rows(texts[:1], None if len(texts) == 1 else texts[1:], specials=True)[0]
    assert row.ids.tolist() == case["ids"], name
    assert row.types.tolist() == case["type_ids"], name
    special, offsets = [1] * len(row.ids), [[0, 0]] * len(row.ids)
    for (_, spans), begin, length in zip(tokenizer.spans(texts), row.begins, row.lengths, strict=True):
        special[begin : begin + length] = [0] * length
        offsets[begin : begin + length] = spans.tolist()
    assert special == case["special_tokens_mask"], name
    assert offsets == case["offsets"], name
    assert tokenizer.encode([case["text"]])[0].tolist() == case["ids_no_special"] or case["pair"], name
    assert tokenizer.decode(row.ids) == case["decoded"], name
