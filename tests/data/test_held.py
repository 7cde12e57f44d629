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
from lmkit.text.spec import Character, WordPiece

TOKENIZER = train_tokenizer(Character(), ["0123456789 text"])
WORDS = train_tokenizer(WordPiece(vocab_size=100), ["text 0123456789 00"] * 9)  # has no token for what has no width


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


@pytest.mark.parametrize("form", ["lines", "one line"])
@pytest.mark.parametrize("lacks", [{"pair": " "}, {"answers": [{"text": "text", "answer_start": 1}]}, {"text": "\u200b"}])
def test_what_the_cache_left_out_moves_no_other_document_into_the_held_out(tmp_path: Path, form: str, lacks: dict[str, object]) -> None:
    answers = [{"text": "text", "answer_start": 0}]
    records: list[dict[str, object]] = [{"text": f"text {i}", "pair": f"text {i}", "answers": answers} for i in range(40)]
    for i in (1, 3, 4, 20):
        records[i] |= lacks
    lines = [json.dumps(each) for each in records]
    (tmp_path / "a.json").write_text("\n".join(lines) if form == "lines" else f"[{', '.join(lines)}]")
    columns = {"text": "text", "text_pair": "pair", "answers": "answers"}
    source = JsonLines(jsonl=(str(tmp_path / "a.json"),), columns=columns, wrong_answers="skip")
    cache = open_cache(source, WORDS, directory=tmp_path / "cache")
    kept, held = hold_out(all_documents("train", cache), 0.3)
    assert len(cache) == 36 and len(held) == 11
    for part in (kept, held):
        texts = [WORDS.decode(cache.tokens[a:b]) for a, b in zip(part.begin, part.end, strict=True)]
        assert [document.text for document in held_documents(read(source), part)] == texts
