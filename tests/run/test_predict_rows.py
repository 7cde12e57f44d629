"""What `lmkit predict` makes of the rows of a file: a line for each, in their order, and a policy for those without an answer."""

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lmkit.data.document import Document
from lmkit.errors import DataError, Interrupted, MachineError, Problem, SpecError
from lmkit.inference.opened import OpenedModel
from lmkit.run.console import Console
from lmkit.run.directory import RunDirectory
from lmkit.run.open import OpenedRun
from lmkit.run.output import whole_file
from lmkit.run.predict import CHUNK, Asked, answered, predict
from lmkit.spec_file.resolve import resolve
from lmkit.spec_file.spec import RunSpec

Run = Callable[..., tuple[list[dict[str, Any]], list[str]]]


def spec_of(columns: dict[str, str]) -> RunSpec:
    words = {
        "name": "tiny",
        "tokenizer": {"kind": "character"},
        "data": {"train": {"jsonl": "train.jsonl", "columns": columns}},
        "model": {"kind": "encoder", "num_layers": 1, "hidden_size": 4, "num_heads": 1},
        "tasks": {"stars": {"kind": "classification"}},
        "training": {"steps": 1, "batch_size": 1, "optimizer": {"kind": "adamw", "learning_rate": 1e-5}},
    }
    return resolve(RunSpec.model_validate(words))[0]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Rows and lines of standard error for a file, answered by the length of its texts; an empty text has no answer."""
    opened = OpenedRun(RunDirectory(tmp_path), spec_of({"text": "body", "label": "stars"}), None, None, {}, 0)  # type: ignore[arg-type]
    monkeypatch.setattr("lmkit.run.open.open_trained", lambda *_, **__: opened)
    monkeypatch.setattr("lmkit.run.predict.existing", lambda _: None)
    monkeypatch.setattr("lmkit.inference.answers.answerer", lambda opened, tasks: by_length)
    monkeypatch.chdir(tmp_path)

    def call(name: str, content: str | bytes, **words: Any) -> tuple[list[dict[str, Any]], list[str]]:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        out: list[str] = []
        err: list[str] = []
        console = Console(out=out.append, err=err.append, write=out.append, lines=lambda: (tmp_path / name).read_text().splitlines(True))
        assert predict(tmp_path, Asked(**({"input": name} | words)), console) == 0
        return [json.loads(line) for line in out], err

    return call


def by_length(documents: Sequence[Document]) -> list[dict[str, Any] | DataError]:
    return [
        {"stars": len(document.text)} if document.text else DataError(Problem("is empty", where=document.where)) for document in documents
    ]


BAD = '{"id": 1, "body": "one"}\n{"id": 2, "boddy": "two"}\n\nno json\n{"id": 5, "body": ""}\n{"id": 6, "body": "three"}\n'


def test_every_row_of_a_file_is_answered_in_its_order_with_its_id(run: Run) -> None:
    content = "".join(json.dumps({"id": number, "body": "x" * (1 + number * 7 % 5)}) + "\n" for number in range(CHUNK + 9))
    rows, err = run("a.jsonl", content)
    assert [row["id"] for row in rows] == list(range(CHUNK + 9)) and not err
    assert all(row["stars"] == len(row["text"]) == 1 + row["id"] * 7 % 5 for row in rows)


def test_a_bad_row_ends_all_and_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.jsonl:2: body: field is missing; the record has 'id', 'boddy'; did you mean 'boddy'\?"):
        run("a.jsonl", BAD, output="out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_bad_rows_are_left_out_and_counted(run: Run) -> None:
    rows, (err,) = run("a.jsonl", BAD, on_error="skip")
    assert [row["id"] for row in rows] == [1, 6]
    assert err.startswith("3 rows without an answer are left out; the first: a.jsonl:2: body: field is missing")


def test_errors_take_the_places_of_bad_rows_so_that_the_others_keep_theirs(run: Run) -> None:
    rows, (err,) = run("a.jsonl", BAD, on_error="null")
    assert [row.get("id") for row in rows] == [1, None, None, 5, 6]
    assert [row.get("error", "").partition(": ")[0] for row in rows] == ["", "a.jsonl:2", "a.jsonl:4:1", "a.jsonl:5", ""]
    assert err.startswith("3 rows without an answer are null")


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.csv", 'id,body\n1,"one"\n2,two,three\n3,f"o"ur\n4,"fi\nve"\n', ["", "a.csv:3", "a.csv:4", ""]),
        ("a.tsv", "id\tbody\n1\tone\n2\n3\tthree\n", ["", "a.tsv:3", ""]),
        ("a.txt", b"one\nt\xffwo\n\nthree\n", ["", "a.txt:2:2", "a.txt:3", ""]),
        ("a.json", '[{"id": 1, "body": "one"}, {"id": 2, "body": 7},\n {"id": 3, "body": "x" "y"}]', ["", "a.json:1", "a.json:2"]),
        ("a.conll", "the O\nfox O\n\ndog\n\ncat O\n", ["", "a.conll:4", ""]),
        ("-", '{"id": 1, "body": "one"}\n[]\n{"id": 3, "body": "three"}\n', ["", "standard input:2", ""]),
        ("-", "one\n\nthree\n", ["", "standard input:2", ""]),
    ],
)
def test_bad_rows_of_every_format_are_named(run: Run, name: str, content: str | bytes, places: list[str]) -> None:
    rows, _ = run("input" if name == "-" else name, content, on_error="null", input=name)
    assert [row.get("error", "").partition(": ")[0] for row in rows] == places


def test_fields_are_carried_along(run: Run) -> None:
    (first,), _ = run("b.csv", "id,body,n\n1,one,x\n", keep=["n"])
    assert first == {"n": "x", "text": "one", "stars": 3}
    (whole,), _ = run("b.csv", "id,body,n\n1,one,x\n", keep="all")
    assert whole == {"id": "1", "body": "one", "n": "x", "text": "one", "stars": 3}
    with pytest.raises(DataError, match=r"b.csv:2: m: field is missing; the record has 'id', 'body', 'n'"):
        run("b.csv", "id,body,n\n1,one,x\n", keep=["m"])
    with pytest.raises(DataError, match=r"b.csv:2: stars: is a field to keep, and the name of an answer"):
        run("b.csv", "stars,body\ngood,one\n", keep="all")


def test_columns_may_be_named_on_the_command_line(run: Run) -> None:
    rows, _ = run("b.csv", "review\nlovely\n", columns={"text": "review"})
    assert rows == [{"text": "lovely", "stars": 6}]
    with pytest.raises(DataError, match=r"b.csv: no field 'body' for the text; the fields are 'review'; write --columns text=review"):
        run("b.csv", "review\nlovely\n")
    with pytest.raises(SpecError, match=r"b.txt: --columns: name fields, and this file has none"):
        run("b.txt", "lovely\n", columns={"text": "review"})
    rows, _ = run("b.jsonl", '{"review": "lovely"}\n', on_error="null")
    assert rows[0]["error"].startswith("b.jsonl:1: body: field is missing")


def test_a_file_is_summed_up_when_it_is_written(run: Run, tmp_path: Path) -> None:
    _, err = run("b.csv", "body\none\n", output="out.jsonl")
    assert err == ["out.jsonl: 1 row written"] and len((tmp_path / "out.jsonl").read_text().splitlines()) == 1
    _, (err,) = run("a.jsonl", BAD, output="out.jsonl", on_error="skip")
    assert err.startswith("out.jsonl: 2 rows written, 3 left out without an answer; the first: a.jsonl:2: body: field is missing")
    _, (err,) = run("a.jsonl", BAD, output="out.jsonl", on_error="null")
    assert err.startswith("out.jsonl: 5 rows written, 3 of them null without an answer; the first: a.jsonl:2")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"texts": ["one", " "]}, "--text: is empty; write a text"),
        ({"texts": ["one"], "pairs": [""]}, "--pair: is empty; write a text"),
        ({"texts": ["one", "two"], "pairs": ["three"]}, "1 --pair for 2 --text; give one for each"),
        ({"texts": ["one"], "choices": ["two"]}, "--choice: choices are two or more, and go with --text"),
        ({"texts": ["one"], "choices": ["two", "three"]}, "--choice: no task here chooses among texts; leave it out"),
        ({"texts": ["one"], "input": "a.csv"}, "give either --text or --input"),
        ({"texts": ["one"], "columns": {"text": "a"}}, "--columns: goes with --input; a text has no fields"),
    ],
)
def test_what_is_wrong_with_texts_of_the_command_line_is_a_line_about_it(run: Run, words: dict[str, Any], what: str) -> None:
    with pytest.raises(SpecError) as error:
        run("a.csv", "body\none\n", **{"input": None, **words})
    assert str(error.value) == f"command line: {what}"


def test_only_so_many_documents_are_in_memory_at_once() -> None:
    given: list[int] = []
    documents = (Document("x", line=number) for number in range(4 * CHUNK) if given.append(number) is None)  # type: ignore[func-returns-value]
    ahead = [len(given) - number for number, _ in enumerate(answered(documents, by_length, Asked(), lambda error: None))]
    assert len(ahead) == 4 * CHUNK and max(ahead) == CHUNK


def test_a_file_that_is_not_whole_never_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before")
    with pytest.raises(Interrupted), whole_file(tmp_path / "out") as write:
        write({"a": 1})
        raise Interrupted("stopped")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out", "before")]


def test_a_signal_stops_between_batches_and_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lmkit.inference.rows import require_going

    def answerer(opened: OpenedModel, tasks: Sequence[str]) -> Any:
        def answer(documents: Sequence[Document]) -> Any:
            require_going(opened)
            signal.raise_signal(signal.SIGTERM)
            return by_length(documents)

        return answer

    monkeypatch.setattr("lmkit.inference.answers.answerer", answerer)
    with pytest.raises(Interrupted):
        run("a.csv", "body\n" + "x\n" * (CHUNK + 1), output="out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"input": None}, SpecError),
        ({"texts": ["a"]}, SpecError),
        ({"input": None, "texts": ["a"], "pairs": ["b", "c"]}, SpecError),
        ({"input": None, "texts": ["a"], "keep": "all"}, SpecError),
        ({"input": None, "texts": ["a"], "choices": ["b"]}, SpecError),
        ({"choices": ["a", "b"]}, SpecError),
        ({"output": "nowhere/out.jsonl"}, MachineError),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_is_opened(run: Run, words: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        run("a.jsonl", BAD, **words)
