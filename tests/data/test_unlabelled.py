"""Records without a label are refused with their place, or left out and counted."""

import json
from collections import Counter
from pathlib import Path

import pytest

from lmkit.data.cache import open_cache
from lmkit.data.sources import read
from lmkit.data.spec import Csv, JsonLines
from lmkit.errors import DataError
from lmkit.text.tokenizer import Tokenizer

OPEN = [("label", None, "null"), ("label", " ", "empty"), ("label", -1, "-1"), ("label", "-1", "-1"), ("value", None, "null")]
OPEN += [("value", "", "a number"), ("labels", None, "null"), ("tags", None, "null")]


def source(path: Path, role: str, value: object, **words: object) -> JsonLines:
    good = {"label": "1", "labels": ["a"], "value": 2.5, "tags": ["X"]}[role]
    rows = [{"text": "w9", "it": good}, {"text": "w8", "it": value}, {"text": "w7", "it": good}]
    (path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return JsonLines.model_validate({"jsonl": ("a.jsonl",), "columns": {"text": "text", role: "it"}, **words})


@pytest.mark.parametrize(("role", "value", "found"), OPEN)
def test_a_record_without_a_label_is_refused_where_it_stands(tmp_path: Path, role: str, value: object, found: str) -> None:
    with pytest.raises(DataError, match=f"a.jsonl:2: it: .*{found}"):
        list(read(source(tmp_path, role, value), base=tmp_path))


@pytest.mark.parametrize(("role", "value", "found"), OPEN)
def test_or_it_is_left_out_and_counted(tmp_path: Path, role: str, value: object, found: str) -> None:
    skipped: Counter[str] = Counter()
    documents = list(read(source(tmp_path, role, value, unlabelled="skip"), base=tmp_path, skipped=skipped))
    assert [(d.text, d.line) for d in documents] == [("w9", 1), ("w7", 3)]
    assert skipped == {"unlabelled": 1}


def test_the_cache_tells_how_many(tmp_path: Path, tokenizer: Tokenizer) -> None:
    cache = open_cache(source(tmp_path, "label", None, unlabelled="skip"), tokenizer, directory=tmp_path / "caches", base=tmp_path)
    assert (len(cache), cache.skipped) == (2, {"unlabelled": 1})


def test_where_minus_one_is_a_label_that_can_be_said(tmp_path: Path) -> None:
    assert [d.label for d in read(source(tmp_path, "label", -1, unlabelled="never"), base=tmp_path)] == ["1", "-1", "1"]


def test_no_label_at_all_of_many_is_no_lack_of_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,it\nx,\ny,a\n")
    documents = read(Csv(csv=("a.csv",), columns={"text": "text", "labels": "it"}, unlabelled="skip"), base=tmp_path)
    assert [d.labels for d in documents] == [(), ("a",)]
