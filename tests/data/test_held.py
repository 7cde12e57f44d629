"""Documents that were held out are found in their files again."""

import json
from pathlib import Path

import pytest

from lmkit.data.cache import open_cache
from lmkit.data.documents import all_documents, hold_out
from lmkit.data.held import held_documents
from lmkit.data.sources import read
from lmkit.data.spec import JsonLines
from lmkit.text.build import train_tokenizer
from lmkit.text.spec import Character

TOKENIZER = train_tokenizer(Character(), ["0123456789 text"])


@pytest.mark.parametrize("form", ["lines", "one line", "several files"])
def test_what_is_held_out_is_read_again_text_by_text(tmp_path: Path, form: str) -> None:
    records = [{"text": f"text {i}" if i % 7 else "  "} for i in range(60)]
    if form == "one line":
        (tmp_path / "a.json").write_text(json.dumps(records))
    else:
        cut = 60 if form == "lines" else 13
        (tmp_path / "a.json").write_text("".join(json.dumps(each) + "\n" for each in records[:cut]))
        (tmp_path / "b.json").write_text("".join(json.dumps(each) + "\n" for each in records[cut:]) or "[]")
    names = ("a.json",) if form != "several files" else ("a.json", "b.json")
    source = JsonLines(jsonl=tuple(str(tmp_path / name) for name in names))
    cache = open_cache(source, TOKENIZER, directory=tmp_path / "cache")
    kept, held = hold_out(all_documents("train", cache), 0.3)
    texts = [TOKENIZER.decode(cache.tokens[a:b]) for a, b in zip(held.begin, held.end, strict=True)]
    assert [document.text for document in held_documents(read(source), held)] == texts
    others = {document.text for document in held_documents(read(source), kept)}
    assert len(texts) == 15 and len(others) == 36 and not others & set(texts)
