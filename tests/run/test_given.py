"""What a user gives beside a run: the ending tells the format, standard input the rest."""

from pathlib import Path

import pytest

from lmkit.data.files import sound
from lmkit.data.spec import Builtin, Conll, Conllu, Csv, JsonLines, Parallel, Parquet, Squad, TextFiles, Tsv
from lmkit.errors import DataError, SpecError
from lmkit.run.given import from_lines, source_like, source_of

COLUMNS = {"text": "review", "label": "stars"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", JsonLines),
        ("a.ndjson", JsonLines),
        ("a.json.gz", JsonLines),
        ("a.CSV", Csv),
        ("a.tsv", Tsv),
        ("a.parquet", Parquet),
        ("a.txt", TextFiles),
    ],
)
def test_the_ending_tells_the_format(name: str, kind: type) -> None:
    source = source_of(Path(name), [{"text": "review"}])
    assert isinstance(source, kind) and source.paths == (name,)
    assert getattr(source, "columns", {"text": "review"}) == {"text": "review"}


def test_a_file_of_the_runs_own_format_keeps_its_habits() -> None:
    own = Csv(csv=("train.csv",), columns=COLUMNS, delimiter=";", encoding_errors="replace")
    assert source_like(own, Path("new.csv")) == own.model_copy(update={"csv": ("new.csv",)})
    text = TextFiles(text=("a.txt",), document="blank_line")
    assert source_like(text, Path("b.md")) == text.model_copy(update={"text": ("b.md",)})


def test_a_file_of_another_format_keeps_the_columns() -> None:
    assert source_like(Csv(csv=("train.csv",), columns=COLUMNS), Path("new.jsonl")) == JsonLines(jsonl=("new.jsonl",), columns=COLUMNS)
    assert source_like(TextFiles(text=("a.txt",)), Path("new.csv")) == Csv(csv=("new.csv",))
    assert source_like(Builtin(builtin="python_reference"), Path("new.txt")) == TextFiles(text=("new.txt",), document="line")


@pytest.mark.parametrize(("name", "kind"), [("a.conll", Conll), ("a.bio.gz", Conll), ("a.iob2", Conll), ("a.CONLLU", Conllu)])
def test_a_file_of_words_is_read_with_the_roles_that_are_asked_for(name: str, kind: type) -> None:
    asked, tagged = source_of(Path(name), [{"text": "text"}]), source_of(Path(name), [{"words": "words", "tags": "tags"}])
    assert isinstance(asked, kind) and asked.paths == (name,) and asked.columns.keys() == {"text"}
    assert isinstance(tagged, kind) and tagged.columns.keys() == {"text", "tags"}


def test_a_table_without_a_header_is_read_as_the_run_reads_its_own_words() -> None:
    own = Conll(conll=("train.tsv",), columns={"text": 0, "tags": 1})
    for name in ("test.tsv", "test.conll", "test"):
        assert source_like(own, Path(name)) == own.model_copy(update={"conll": (name,)})
    assert source_like(own, Path("dev.conllu")) == Conllu(conllu=("dev.conllu",))
    assert source_of(Path("new.tsv"), [{"text": "text"}], own) == Conll(conll=("new.tsv",), columns={"text": 0})
    assert source_of(Path("new.txt"), [{"text": "text"}], own) == TextFiles(text=("new.txt",), document="line")


def test_json_is_squads_where_it_begins_so(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"data": [{"paragraphs": []}], "version": "1.1"}')
    squad = Squad(squad=(str(path),))
    assert source_of(path, [{"text": "text"}]) == squad
    own = Squad(squad=("train.json",), wrong_answers="find")
    assert source_like(own, path) == own.model_copy(update={"squad": (str(path),)})
    assert source_like(own, Path("a.csv")) == Csv(csv=("a.csv",), columns=Squad.columns)
    path.write_text('{"text": "one"}\n')
    assert source_of(path, [{"text": "text"}]) == JsonLines(jsonl=(str(path),))


def test_two_aligned_files_are_named_by_their_roles_or_by_the_first() -> None:
    own = Parallel(text=("train.en",), target=("train.de",), encoding_errors="replace")
    named = Path("text=a/test.src,target=a/test.ref")
    assert source_like(own, named) == own.model_copy(update={"text": ("a/test.src",), "target": ("a/test.ref",)})
    assert source_like(own, Path("a/test.en.gz")) == own.model_copy(update={"text": ("a/test.en.gz",), "target": ("a/test.de.gz",)})
    assert source_of(named, [COLUMNS]) == source_like(Csv(csv=("a.csv",)), named) == Parallel(text=("a/test.src",), target=("a/test.ref",))
    for wrong in ("text=a.en", "text=a.en,target=", "target=a.de,tet=a.en"):
        with pytest.raises(SpecError, match="--data: expected FILE, or text=FILE,target=FILE, got"):
            source_like(own, Path(wrong))


def test_plain_text_cannot_stand_for_records() -> None:
    with pytest.raises(DataError, match=r"new\.txt: has no named fields, and the run reads text, label; name a \.jsonl"):
        source_like(Csv(csv=("train.csv",), columns=COLUMNS), Path("new.txt"))
    with pytest.raises(DataError, match=r"name a \.jsonl, .*, or text=FILE,target=FILE"):
        source_like(Csv(csv=("train.csv",), columns={"text": "en", "target": "de"}), Path("new.en"))


def test_lines_of_standard_input_are_texts_or_objects() -> None:
    assert [d.text for d in from_lines(["\n", "one\n", "\n", "two {}\r\n"], [{"text": "review"}])] == ["one", "", "two {}"]
    (found,) = from_lines(['{"text": "x", "review": "a lovely film"}\n'], [{"text": "review"}])
    assert (found.text, found.where) == ("a lovely film", "standard input:1")


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([], "standard input: is empty"),
        (['{"review": "x"}\n', "plain\n"], "standard input:2:1: is no JSON"),
        (['{"text": "x"}\n'], "standard input:1: no field 'review' for the text; the fields are 'text'; write --columns text=text"),
    ],
)
def test_wrong_lines_are_named(lines: list[str], what: str) -> None:
    with pytest.raises(DataError) as error:
        [sound(each) for each in from_lines(lines, [{"text": "review"}])]
    assert str(error.value).startswith(what)
