"""Every format gives the same documents in the same order, whatever its packaging."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from lmkit.data.plain_text import PART
from lmkit.data.sources import read
from lmkit.data.spec import Builtin, Csv, HuggingFace, JsonLines, Parquet, TextFiles, Tsv
from lmkit.errors import DataError, Interrupted, MachineError

ROWS = [
    {"body": "First text.", "other": "a, \"pair\"", "stars": 3},
    {"body": "二つ目\nwith a line break", "other": "", "stars": 1},
    {"body": "third", "other": "x", "stars": 3},
]  # fmt: skip
COLUMNS = {"text": "body", "text_pair": "other", "label": "stars"}


def texts(source, base):
    return [d.text for d in read(source, base=base)]


def quoted(value):
    return '"' + str(value).replace('"', '""') + '"'


def test_records_are_the_same_from_jsonl_csv_and_parquet(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "a.csv").write_text(
        "stars,body,other\r\n" + "".join(f"{r['stars']},{quoted(r['body'])},{quoted(r['other'])}\r\n" for r in ROWS), newline=""
    )
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    sources = [
        JsonLines(jsonl=("a.jsonl",), columns=COLUMNS),
        Csv(csv=("a.csv",), columns=COLUMNS),
        Parquet(parquet=("a.parquet",), columns=COLUMNS),
    ]
    found = [[(d.text, d.pair, d.label) for d in read(source, base=tmp_path)] for source in sources]
    assert found[0] == [(row["body"], row["other"], str(row["stars"])) for row in ROWS]
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_tab_separated_values_keep_their_quotes(tmp_path):
    (tmp_path / "a.tsv").write_text("sentence\tlabel\n\"no quoting here\t0\nit 's\t1\n")
    source = Tsv(tsv=("a.tsv",), columns={"text": "sentence", "label": "label"})
    assert [(d.text, d.label, d.line) for d in read(source, base=tmp_path)] == [('"no quoting here', "0", 2), ("it 's", "1", 3)]


def test_documents_are_files_lines_or_paragraphs(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n\n \nthree\n")
    assert texts(TextFiles(text=("a.txt",)), tmp_path) == ["one\ntwo\n\n \nthree\n"]
    assert texts(TextFiles(text=("a.txt",), document="line"), tmp_path) == ["one", "two", "", " ", "three"]
    found = list(read(TextFiles(text=("a.txt",), document="blank_line"), base=tmp_path))
    assert [(d.text, d.line) for d in found] == [("one\ntwo", 1), ("three", 5)]


def test_a_large_file_passes_in_parts_that_begin_with_white_space(tmp_path):
    whole = "".join(f"line {i} of it \n" for i in range(PART // 8))
    (tmp_path / "a.txt").write_text(whole)
    parts = list(read(TextFiles(text=("a.txt",)), base=tmp_path))
    assert len(parts) > 1
    assert "".join(p.text for p in parts) == whole
    assert [p.more for p in parts] == [True] * (len(parts) - 1) + [False]
    assert all(p.text[0].isspace() for p in parts[1:])


def test_globs_are_sorted_and_a_file_is_read_once_with_a_warning(tmp_path):
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / ".hidden.txt").write_text("hidden")
    (tmp_path / "d.txt").symlink_to("a.txt")
    said = []
    found = list(read(TextFiles(text=("*.txt", "b.txt")), base=tmp_path, warn=said.append))
    assert [d.text for d in found] == ["a", "b", "c"]
    assert len(said) == 1
    assert "d.txt and 1 more" in said[0]


def test_gz_files_are_unpacked(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("zip\r\npéd\n".encode()))
    assert texts(TextFiles(text=("*.gz",)), tmp_path) == ["zip\npéd\n"]


def test_folders_of_a_recursive_glob_are_walked_and_link_loops_end(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.txt").write_text("a")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    assert texts(TextFiles(text=("**/*.txt",)), tmp_path) == ["a"]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("home")
    assert texts(TextFiles(text=("~/a.txt",)), tmp_path / "elsewhere") == ["home"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(tmp_path):
    (tmp_path / "a[1].txt").write_text("literal")
    assert texts(TextFiles(text=("a[1].txt",)), tmp_path) == ["literal"]


def test_long_records_are_split_where_that_is_allowed(tmp_path):
    words = " ".join(f"wörd{i}" for i in range(3000))
    (tmp_path / "a.txt").write_text(words + "\nshort\n")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": words}) + "\n")
    for document in ("line", "blank_line", "file"):
        source = TextFiles(text=("a.txt",), document=document, max_record_bytes=1000)
        with pytest.raises(DataError, match="longer than max_record_bytes"):
            texts(source, tmp_path)
        assert "".join(texts(source.model_copy(update={"long_records": "split"}), tmp_path)).startswith(words)
    source = JsonLines(jsonl=("a.jsonl",), max_record_bytes=1000)
    with pytest.raises(DataError, match="longer than max_record_bytes"):
        texts(source, tmp_path)
    parts = texts(source.model_copy(update={"long_records": "split"}), tmp_path)
    assert len(parts) > 10
    assert "".join(parts) == words


def test_bytes_that_are_no_text_may_be_replaced(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\xffb\0c\n")
    assert texts(TextFiles(text=("a.txt",), encoding_errors="replace"), tmp_path) == ["a�b�c\n"]
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b\\u0000"}\n')
    assert texts(JsonLines(jsonl=("a.jsonl",), encoding_errors="replace"), tmp_path) == ["a?b�"]


def test_the_builtin_corpus_is_there_without_any_file(tmp_path):
    found = list(read(Builtin(builtin="python_reference"), base=tmp_path))
    assert len(found) > 50
    assert sum(len(d.text) for d in found) > 300_000


def test_reading_stops_when_asked(tmp_path):
    (tmp_path / "a.txt").write_text("line\n" * 5000)
    with pytest.raises(Interrupted):
        texts_read = list(read(TextFiles(text=("a.txt",), document="line"), base=tmp_path, stop=lambda: True))
        assert not texts_read


def test_hugging_face_data_comes_from_a_local_folder_or_names_the_missing_library(tmp_path):
    source = HuggingFace(huggingface="folder", columns={"text": "text", "label": "label"})
    try:
        import datasets
    except ImportError:
        with pytest.raises(MachineError, match=r"pip install \"lmkit\[datasets\]\""):
            list(read(source, base=tmp_path))
        return
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])})
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "c", "label": -1}\n')
    files = {"train": str(tmp_path / "a.jsonl"), "test": str(tmp_path / "b.jsonl")}
    made = datasets.load_dataset("json", data_files=files, features=features, cache_dir=str(tmp_path / "cache"))
    made["train"].save_to_disk(str(tmp_path / "folder"))
    made.save_to_disk(str(tmp_path / "both"))
    assert [(d.text, d.label) for d in read(source, base=tmp_path)] == [("a", "good"), ("b", "bad")]
    unlabelled = source.model_copy(update={"huggingface": "both", "split": "test"})
    with pytest.raises(DataError, match="both:1: label: -1 is no label"):
        list(read(unlabelled, base=tmp_path))
    with pytest.raises(DataError, match="cannot be loaded"):
        list(read(unlabelled.model_copy(update={"split": "nope"}), base=tmp_path))


def test_a_hugging_face_folder_that_is_not_there_is_not_looked_for_elsewhere(tmp_path):
    pytest.importorskip("datasets")
    with pytest.raises(DataError, match="no such folder"):
        list(read(HuggingFace(huggingface="./nowhere"), base=tmp_path))


def array(tmp_path, text, **words):
    (tmp_path / "a.json").write_text(text)
    return list(read(JsonLines(jsonl=("a.json",), columns={"text": "body"}, **words), base=tmp_path))


@pytest.mark.parametrize("indent", [None, 0, 1, 4])
@pytest.mark.parametrize("blank", ["", " \n\n ", "\r\n"])
def test_an_array_of_objects_is_read_as_its_lines_are(tmp_path, indent, blank):
    rows = [*ROWS, {"body": '}] \\ "quoted\\" [{', "more": [{"a": [1, {}]}]}]
    assert [d.text for d in array(tmp_path, blank + json.dumps(rows, indent=indent) + blank)] == [row["body"] for row in rows]


def test_an_object_of_an_array_begins_on_its_line(tmp_path):
    assert [d.line for d in array(tmp_path, '[{"body": "a"}, {"body": "b"},\n\n {"body":\n "c"}\n]\n')] == [1, 1, 3]


def test_an_array_on_one_long_line_passes_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("lmkit.data.files.SPLIT_AT", 7)
    rows = [{"body": 'a\\" \\' * k} for k in range(1, 20)]
    assert [d.text for d in array(tmp_path, json.dumps(rows, ensure_ascii=False))] == [row["body"] for row in rows]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ('[{"body": "a"},\n {"body": "b"}', "a.json:2", "does not end: expected a comma or ]"),
        ('[{"body": "a"},\n {"body": "b"', "a.json:2", "begins here does not end"),
        ('[{"body": "a"},\n]', "a.json:2:1", "expected an object, got ]"),
        ('[{"body": "a"}\n {"body": "b"}]', "a.json:2:2", "expected a comma or ]"),
        ('[{"body": "a"}]\n[]', "a.json:2:1", "nothing behind the array"),
        ("[1, 2]", "a.json:1:2", "expected an object or ], got 1, 2]"),
        ('[{"body": "a"},\n{"body":\n  "a" "b"}]', "a.json:3:7", "is no JSON"),
        ('[{"body": "a\nb"}]', "a.json:1", "a text does not end on its line"),
        ('[{"body": "a", "body": "b"}]', "a.json:1", "'body' stands twice"),
        ('[{"body": NaN}]', "a.json:1", "NaN is no JSON value"),
        ('[{"body": "' + "x" * 99 + '"}]', "a.json:1", "max_record_bytes"),
        ("[]", "a.json", "holds no records"),
    ],
)
def test_what_is_wrong_with_an_array_is_said_with_its_place(tmp_path, text, place, what):
    with pytest.raises(DataError, match=what.replace("]", r"\]").replace("[", r"\[")) as caught:
        array(tmp_path, text, max_record_bytes=64)
    assert str(caught.value).startswith(str(tmp_path / place) + ":")
