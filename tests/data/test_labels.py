"""Several labels of a text in one cell: how they are separated, and what is said where they seem to be separated otherwise."""

from pathlib import Path

import pytest

from lmkit.cli import main
from lmkit.data.cache import open_cache
from lmkit.data.sources import read
from lmkit.data.spec import Csv, JsonLines
from lmkit.errors import SpecError
from lmkit.run.on_file import on_file
from lmkit.spec_file.load import load
from lmkit.text.build import train_tokenizer
from lmkit.text.spec import Character

COLUMNS = {"text": "body", "labels": "topics"}


def table(folder: Path, *cells: str, **words: object) -> Csv:
    rows = ('a,"' + cell.replace('"', '""') + '"\n' for cell in cells)
    (folder / "a.csv").write_text("body,topics\n" + "".join(rows))
    return Csv.model_validate({"csv": ("a.csv",), "columns": COLUMNS, **words})


@pytest.mark.parametrize(
    ("separator", "cell"),
    [(None, "sport, world news"), ("|", "sport|world news"), (" / ", "sport / world news"), (";", '["sport", "world news"]')],
)
def test_labels_end_where_the_spec_says(tmp_path: Path, separator: str | None, cell: str) -> None:
    source = table(tmp_path, cell, "sport", "", **({"label_separator": separator} if separator else {}))
    assert [document.labels for document in read(source, base=tmp_path)] == [("sport", "world news"), ("sport",), ()]
    (tmp_path / "a.jsonl").write_text('{"body": "a", "topics": "sport;world, news"}\n')
    (found,) = read(JsonLines(jsonl=("a.jsonl",), columns=COLUMNS, label_separator=";"), base=tmp_path)
    assert found.labels == ("sport", "world, news")


def remarks(folder: Path, source: Csv) -> list[str]:
    said: list[str] = []
    tokenizer = train_tokenizer(Character(), ["abc"])
    for _ in range(2):  # the second time from the cache
        before, said = said, []
        open_cache(source, tokenizer, directory=folder / "cache", base=folder, warn=said.append)
        assert before in ([], said)
    return said


def test_what_seems_to_be_joined_by_another_separator_is_said_once_with_its_place(tmp_path: Path) -> None:
    (said,) = remarks(tmp_path, table(tmp_path, "sport", "sport|news", "news|arts"))
    assert said == (
        f'warning: {tmp_path}/a.csv:3: labels: 2 labels look like several with "|" between them, the first is "sport|news"; '
        'if they are, write label_separator: "|" under the source'
    )
    (said,) = remarks(tmp_path, table(tmp_path, "sport,news", "sport;news"))  # each of both is a label too
    assert "a.csv:3" in said and '";"' in said
    (said,) = remarks(tmp_path, table(tmp_path, "sport,news", label_separator="|"))
    assert 'write label_separator: ","' in said


@pytest.mark.parametrize(
    ("cells", "separator"), [(("arts,news", "input|output"), ","), (("a|b, c", "a"), "|"), (('["b, c"]', "d"), ","), (("|", "a;"), ",")]
)
def test_labels_may_hold_what_separates_others(tmp_path: Path, cells: tuple[str, ...], separator: str) -> None:
    assert remarks(tmp_path, table(tmp_path, *cells, label_separator=separator)) == []


def test_a_separator_without_labels_is_a_mistake() -> None:
    (problem,) = Csv(csv=("a.csv",), columns={"text": "a", "label": "b"}, label_separator="|").problems()
    assert problem[0] == "label_separator" and "columns: {labels: ...}" in problem[1]


def test_init_and_evaluate_take_the_separator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, spec = tmp_path / "a.csv", tmp_path / "spec.yaml"
    data.write_text("text,labels\na,sport|news\nb,sport\n")
    assert main(["init", str(data), "--label-separator", "|", "-o", str(spec)]) == 0
    assert main(["check", "--strict", str(spec)]) == 0
    words = load(spec).spec
    source = words.data.train["train"]
    assert isinstance(source, Csv) and (source.label_separator, source.columns["labels"]) == ("|", "labels")
    for separator, expected in (("", "|"), (";", ";")):
        held = on_file(words, data, {}, tmp_path, (), separator).data.validation
        assert isinstance(held, Csv) and held.label_separator == expected
    (tmp_path / "b.jsonl").write_text('{"text": "a", "labels": "sport|news"}\n')
    other = on_file(words, tmp_path / "b.jsonl", {}, tmp_path).data.validation
    assert isinstance(other, JsonLines) and other.label_separator == "|"
    with pytest.raises(SpecError, match="--label-separator: say how the labels of a file are separated; add --data FILE"):
        on_file(words, None, {}, tmp_path, (), ";")
    data.write_text("text,label\na,good\n")
    assert main(["init", str(data), "--label-separator", "|"]) == 0
    data.write_text("text,story\na,good\n")
    capsys.readouterr()
    assert main(["init", str(data), "--label-separator", "|"]) == 2
    assert "is for several labels of a text, and no field of them is found" in capsys.readouterr().err
