"""What a user sees for each kind of bad data, in every format: the file, the line, the field, the fix, and exit code 3."""

import gzip
import json
import os
import socket

import pyarrow
import pyarrow.parquet
import pytest

from lmkit.data.cache import open_cache
from lmkit.data.sources import read
from lmkit.data.spec import Conll, Conllu, Csv, JsonLines, Parallel, Parquet, Squad, TextFiles, Tsv
from lmkit.errors import DataError
from lmkit.text.build import train_tokenizer
from lmkit.text.spec import Character

COLUMNS = {"text": "body", "label": "stars"}


def refused(source, base, *said):
    """The one line that a user sees, which must hold all of `said`."""
    with pytest.raises(DataError) as caught:
        list(read(source, base=base))
    assert caught.value.exit_code == 3
    line = str(caught.value)
    assert "\n" not in line
    for part in said:
        assert part in line, line
    return line


def text(base, content, name="a.txt"):
    (base / name).write_bytes(content)
    return TextFiles(text=(name,))


def test_nothing_matches(tmp_path):
    refused(TextFiles(text=("corpus/*.txt",)), tmp_path, "corpus/*.txt", "matches no file", str(tmp_path))
    refused(TextFiles(text=("a.txt",)), tmp_path, "a.txt", "no such file")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    refused(TextFiles(text=("folder",)), tmp_path, "is a folder", "folder/*.txt")
    refused(TextFiles(text=("folder/*",)), tmp_path, "matches only folders")
    refused(TextFiles(text=("gs://bucket/a.txt",)), tmp_path, "remote address")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.txt.gz"])
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    kinds = {"jsonl": JsonLines, "csv": Csv, "tsv": Tsv, "parquet": Parquet}
    kind = name.split(".")[1]
    source = kinds[kind](**{kind: (name,)}) if kind in kinds else TextFiles(text=(name,))
    refused(source, tmp_path, name, "is empty")


def test_no_records(tmp_path):
    (tmp_path / "a.csv").write_text("body,stars\n")
    refused(Csv(csv=("a.csv",), columns=COLUMNS), tmp_path, "a.csv", "holds no records")
    (tmp_path / "a.jsonl").write_text("\n\n")
    refused(JsonLines(jsonl=("a.jsonl",)), tmp_path, "a.jsonl", "holds no records")


def test_only_blank_documents(tmp_path):
    tokenizer = train_tokenizer(Character(), ["abc"])
    source = text(tmp_path, b" \n\n\t\n").model_copy(update={"document": "line"})
    with pytest.raises(DataError, match=r"no document is left to learn from \(3 empty\)") as caught:
        open_cache(source, tokenizer, directory=tmp_path / "cache", base=tmp_path)
    assert "a.txt" in str(caught.value)


def test_bytes_that_are_not_utf8(tmp_path):
    refused(text(tmp_path, b"good\nbad \xff here\n"), tmp_path, "a.txt:2:5", "0xff", "encoding_errors: replace")
    refused(text(tmp_path, "two\n".encode("utf-16")), tmp_path, "a.txt:1:1", "UTF-16", "iconv")
    refused(text(tmp_path, "cut off é".encode()[:-1]), tmp_path, "a.txt:1:9", "0xc3")
    refused(text(tmp_path, gzip.compress(b"x")), tmp_path, "a.txt:1:2", "not UTF-8")


@pytest.mark.parametrize("document", ["file", "line", "blank_line"])
def test_a_line_without_end(tmp_path, document):
    source = text(tmp_path, b"ok\n" + b"x" * 5000).model_copy(update={"document": document, "max_record_bytes": 4096})
    refused(source, tmp_path, "a.txt:2", "max_record_bytes = 4,096", "long_records: split")


def test_nul_bytes(tmp_path):
    refused(text(tmp_path, b"ok\na\0b\n"), tmp_path, "a.txt:2:2", "NUL")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"body": "x", "stars": 1', ["a.jsonl:2:", "is no JSON"]),
        (b'["body"]', ["a.jsonl:2", "expected an object"]),
        (b'"body"', ["a.jsonl:2", "expected an object"]),
        (b'{"body": "x", "body": "y", "stars": 1}', ["a.jsonl:2", "'body' stands twice"]),
        (b'{"body": "x", "stars": NaN}', ["a.jsonl:2", "NaN is no JSON"]),
        (b'{"body": "x", "stars": 1}{"body": "y", "stars": 1}', ["a.jsonl:2", "extra data"]),
        (b"[" * 100_000, ["a.jsonl:2", "is no JSON"]),
        (b'{"body": "x", "stars": ' + b"9" * 10_000 + b"}", ["a.jsonl:2", "is no JSON"]),
        (b'{"bodi": "x", "stars": 1}', ["a.jsonl:2: body", "missing", "did you mean 'bodi'"]),
        (b'{"body": null, "stars": 1}', ["a.jsonl:2: body", "null"]),
        (b'{"body": 7, "stars": 1}', ["a.jsonl:2: body", "expected text, got the number 7"]),
        (b'{"body": ["x"], "stars": 1}', ["a.jsonl:2: body", "expected text, got a list"]),
        (b'{"body": "x\\u0000", "stars": 1}', ["a.jsonl:2: body", "NUL"]),
        (b'{"body": "x\\ud800", "stars": 1}', ["a.jsonl:2: body", "surrogate"]),
        (b'{"body": "x", "stars": ""}', ["a.jsonl:2: stars", "label is empty"]),
        (b'{"body": "x", "stars": null}', ["a.jsonl:2: stars", "null"]),
        (b'{"body": "x", "stars": 1.5}', ["a.jsonl:2: stars", "the number 1.5"]),
        (b'{"body": "x", "stars": {"a": 1}}', ["a.jsonl:2: stars", "an object"]),
    ],
)
def test_broken_json_lines(tmp_path, line, said):
    (tmp_path / "a.jsonl").write_bytes(b'{"body": "fine", "stars": 1}\n' + line + b"\n")
    refused(JsonLines(jsonl=("a.jsonl",), columns=COLUMNS), tmp_path, *said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text,stars\nx,1\n", ["a.csv:1", "no column 'body'", "'text', 'stars'"]),
        ("Body,stars\nx,1\n", ["did you mean 'Body'"]),
        ("body;stars\nx;1\n", ["separated by ';'", "set delimiter: ';'"]),
        ("body,stars,body\nx,1,y\n", ["a.csv:1", "'body' stands twice"]),
        ("body,stars\nx,1\ny\n", ["a.csv:3", "1 field where the header has 2 (body, stars)"]),
        ("body,stars\nx,1\na, b,1\n", ["a.csv:3", "3 fields", "in double quotes"]),
        ("body,stars\nx,1\nbody,stars\n", ["a.csv:3", "header stands here a second time"]),
        ('body,stars\nx,1\n"y,1\nz,2\n', ["a.csv:3", "never closed"]),
        ('body,stars\nx,1\na "quoted" word,1\n', ["a.csv:3", "must be doubled"]),
        ('body,stars\nx,1\n"a"b,1\n', ["a.csv:3", "must be doubled"]),
        ("body,stars\nx,1\ny,\n", ["a.csv:3: stars", "label is empty"]),
    ],
)
def test_broken_tables(tmp_path, content, said):
    (tmp_path / "a.csv").write_text(content)
    refused(Csv(csv=("a.csv",), columns=COLUMNS), tmp_path, *said)


WORD = "1\tfox\tfox\tNOUN\tNN\t_\t0\troot\t_\t_\n"
SQUAD = {"context": "a fox runs", "qas": [{"id": "q", "question": "who", "answers": [{"text": "fox", "answer_start": 2}]}]}
FORMATS = {
    "jsonl": (JsonLines(jsonl=("a",), columns=COLUMNS), '{"body": "a fox", "stars": 1}\n{"body": "b", "stars": 2}\n'),
    "json": (JsonLines(jsonl=("a",), columns=COLUMNS), '[{"body": "a fox", "stars": 1},\n{"body": "b", "stars": 2}]\n'),
    "csv": (Csv(csv=("a",), columns=COLUMNS), "body,stars\na fox,1\nb,2\n"),
    "tsv": (Tsv(tsv=("a",), columns=COLUMNS), "body\tstars\na fox\t1\nb\t2\n"),
    "conll": (Conll(conll=("a",)), "the O\nfox B-x\n\na O\n"),
    "conllu": (Conllu(conllu=("a",)), f"{WORD}\n{WORD}"),
    "squad": (Squad(squad=("a",)), json.dumps({"version": "v2.0", "data": [{"paragraphs": [SQUAD]}]}, indent=1)),
    "text": (TextFiles(text=("a",), document="line"), "the fox\nruns\n"),
    "texts": (Parallel(text=("a",), target=("beside",)), "the fox\nruns\n"),
    "targets": (Parallel(text=("beside",), target=("a",)), "the fox\nruns\n"),
}
DAMAGES = {
    "nothing": (lambda raw: b"", "is empty"),
    "UTF-16": (lambda raw: raw.decode().encode("utf-16"), "iconv -f UTF-16"),
    "another encoding": (lambda raw: raw.replace(b"fox", b"f\xf6x", 1), "byte 0xf6 is not UTF-8"),
    "a NUL byte": (lambda raw: raw.replace(b"fox", b"f\0x", 1), "a NUL byte"),
    "an archive": (lambda raw: gzip.compress(raw), "not UTF-8"),
    "no end": (lambda raw: raw.replace(b"fox", b"fox" * 2000, 1), "longer than max_record_bytes = 4,096; raise it"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_names_the_place_of_what_is_no_text(tmp_path, name, damage):
    source, content = FORMATS[name]
    (tmp_path / "beside").write_text("one\ntwo\n")
    change, said = DAMAGES[damage]
    (tmp_path / "a").write_bytes(change(content.encode()))
    line = refused(source.model_copy(update={"max_record_bytes": 4096}), tmp_path, said)
    assert line.startswith(f"{tmp_path / 'a'}:"), line


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_notices_that_an_archive_is_cut_off(tmp_path, name):
    source, content = FORMATS[name]
    (tmp_path / "beside").write_text("one\ntwo\n")
    packed = gzip.compress(content.encode())
    archive = {key: ("a.gz",) for key, value in source if value == ("a",)}
    for end in (len(packed), len(packed) - 9):
        (tmp_path / "a.gz").write_bytes(packed[:end])
        if end == len(packed):
            assert list(read(source.model_copy(update=archive), base=tmp_path))
        else:
            refused(source.model_copy(update=archive), tmp_path, "a.gz: is cut off")


@pytest.mark.parametrize("name", FORMATS)
def test_a_byte_order_mark_and_line_ends_of_windows_change_nothing(tmp_path, name):
    source, content = FORMATS[name]
    (tmp_path / "beside").write_text("one\ntwo\n")
    found = []
    for raw in (content.encode(), b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode()):
        (tmp_path / "a").write_bytes(raw)
        found.append(list(read(source, base=tmp_path)))
    assert found[0] == found[1] and found[0]


@pytest.mark.parametrize(
    ("source", "content", "said"),
    [
        (Conll(conll=("a",)), "\n\n", "a: holds no sentences"),
        (Conll(conll=("a",)), "-DOCSTART- O\n\n", "a: holds no sentences"),
        (Conllu(conllu=("a",)), "# text = x\n\n", "a: holds no sentences"),
        (Conll(conll=("a",)), "the\tO\nfox\tB-x\x0e\na\tO\n", "a:2: a control character (U+000E)"),
        (Squad(squad=("a",)), '{"data": []}', "a: holds no questions"),
        (Squad(squad=("a",)), '{"data": [{"paragraphs": [{"context": "x", "qas": []}]}]}', "a: holds no questions"),
        (Tsv(tsv=("a",), columns=COLUMNS), "body\tstars\n", "a: holds no records"),
        (Csv(csv=("a",), columns=COLUMNS), "\n\n", "a: has no header line"),
        (JsonLines(jsonl=("a",), columns=COLUMNS), "[]", "a: holds no records"),
        (Parallel(text=("a",), target=("beside",)), "one\n", "a: has 1 lines, and "),
        (Parallel(text=("a", "beside"), target=("beside",)), "one\n", "a: 2 files of texts and 1 of targets"),
    ],
)
def test_files_without_a_record_or_without_their_partner(tmp_path, source, content, said):
    (tmp_path / "beside").write_text("one\ntwo\n")
    (tmp_path / "a").write_text(content)
    refused(source, tmp_path, said)


VALUES = {"text": "body", "value": "stars"}


@pytest.mark.parametrize("value", ["nan", "-inf", "1e999"])
def test_numbers_that_are_none_are_refused_in_every_format(tmp_path, value):
    (tmp_path / "a.csv").write_text(f"body,stars\nx,1\ny,{value}\n")
    refused(Csv(csv=("a.csv",), columns=VALUES), tmp_path, "a.csv:3: stars: expected a finite number")
    (tmp_path / "a.tsv").write_text(f"body\tstars\ny\t{value}\n")
    refused(Tsv(tsv=("a.tsv",), columns=VALUES), tmp_path, "a.tsv:2: stars: expected a finite number")
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x"], "stars": [float(value)]}), tmp_path / "a.parquet")
    refused(Parquet(parquet=("a.parquet",), columns=VALUES), tmp_path, "a.parquet:1: stars: expected a finite number")
    (tmp_path / "a.jsonl").write_text('{"body": "x", "stars": 1e999}\n')
    refused(JsonLines(jsonl=("a.jsonl",), columns=VALUES), tmp_path, "a.jsonl:1: stars: expected a finite number")


def test_broken_tab_separated_tables(tmp_path):
    source = Tsv(tsv=("a.tsv",), columns=COLUMNS)
    (tmp_path / "a.tsv").write_text("body\tstars\nx\t1\ny z\n")
    refused(source, tmp_path, "a.tsv:3", "1 field where the header has 2")
    (tmp_path / "a.tsv").write_text("body,stars\nx,1\n")
    refused(source, tmp_path, "a.tsv:1", "separated by ','", "read it as csv")


def test_broken_parquet(tmp_path):
    source = Parquet(parquet=("a.parquet",), columns=COLUMNS)
    file = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x", None], "stars": [1, 2]}), file)
    refused(source, tmp_path, "a.parquet:2: body", "null")
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    refused(source, tmp_path, "a.parquet", "no whole Parquet file")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x"], "stars": [1]}), file)
    refused(source, tmp_path, "no column 'body'", "'text', 'stars'")
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x", "x" * 9999], "stars": [1, 2]}), file)
    refused(source.model_copy(update={"max_record_bytes": 4096}), tmp_path, "a.parquet:2: body", "longer than max_record_bytes = 4,096")
    pyarrow.parquet.write_table(pyarrow.table({"body": ["a\0b"], "stars": [1]}), file)
    refused(source, tmp_path, "a.parquet:1: body", "NUL")
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x"], "stars": [1]}).slice(0, 0), file)
    refused(source, tmp_path, "a.parquet", "holds no records")
    pyarrow.parquet.write_table(pyarrow.table({"body": [b"x"], "stars": [1]}), file)
    refused(source, tmp_path, "a.parquet:1: body", "expected text, got bytes")


def test_a_gz_file_that_is_cut_off_or_none(tmp_path):
    packed = gzip.compress("".join(f"line {i} {i * 7919}\n" for i in range(5000)).encode())
    refused(text(tmp_path, packed[: len(packed) // 2], "a.txt.gz"), tmp_path, "a.txt.gz", "cut off")
    refused(text(tmp_path, packed[:-3], "a.txt.gz"), tmp_path, "a.txt.gz", "cut off")
    refused(text(tmp_path, b"plain text\n", "a.txt.gz"), tmp_path, "a.txt.gz", "no whole gzip file")
    flipped = bytearray(packed)
    flipped[-6] ^= 1
    refused(text(tmp_path, bytes(flipped), "a.txt.gz"), tmp_path, "a.txt.gz", "no whole gzip file")


def test_a_gz_bomb(tmp_path):
    source = text(tmp_path, gzip.compress((b"0" * 1023 + b"\n") * 70 * 2**10), "a.txt.gz")
    refused(source, tmp_path, "a.txt.gz", "unpacks to more than 200 times its size")


def test_what_is_no_regular_file_is_named_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    refused(TextFiles(text=("pipe.txt",)), tmp_path, "pipe.txt", "no regular file")
    refused(TextFiles(text=("*.txt",)), tmp_path, "pipe.txt", "no regular file")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(TextFiles(text=("loop",)), tmp_path, "loop", "cannot be read")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    refused(TextFiles(text=("gone",)), tmp_path, "gone", "link to nothing")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "socket"))
        refused(TextFiles(text=("socket",)), tmp_path, "socket", "no regular file")
    refused(TextFiles(text=("/dev/zero",)), tmp_path, "/dev/zero", "no regular file")


ROWS = [{"body": f'text {i}, "quoted" and more', "stars": i % 3} for i in range(30)]


PLACES = int(os.environ.get("LMKIT_PLACES", "30"))  # of each file; 100 and more for a longer look


def corrupted(raw):
    """Truncations, flips and insertions spread over the bytes; what is left is never the same bytes."""
    for at in range(1, len(raw), max(1, len(raw) // PLACES)):
        yield f"cut at {at}", raw[:at]
        yield f"flip at {at}", raw[:at] + bytes([raw[at] ^ 0x04]) + raw[at + 1 :]
        yield f"flip high bit at {at}", raw[:at] + bytes([raw[at] ^ 0x80]) + raw[at + 1 :]
        for byte in (b"\xff", b'"', b"\n", b"\0"):
            yield f"{byte!r} at {at}", raw[:at] + byte + raw[at:]


def nothing_tells(name, raw, prefix):
    """Whether a file that is cut off looks whole: behind a line, in the last field of one, or in half of a doubled quote."""
    if name.endswith((".gz", ".parquet", ".json")):
        return False
    if name.endswith((".tsv", ".conll", ".conllu")):
        begun = prefix.rpartition(b"\n")[2]
        whole = raw[len(prefix) - len(begun) :].partition(b"\n")[0]
        return not begun.strip() or begun.count(b"\t") == whole.count(b"\t")
    prefix = prefix.rstrip(b"\n")
    return raw[len(prefix) :].startswith(b"\n") or prefix.endswith(b",") or (prefix.endswith(b'"') and raw[len(prefix) :].startswith(b'"'))


def fixtures():
    lines = "\n".join(json.dumps(row) for row in ROWS)
    table = ["stars,body", *(f"{row['stars']}," + '"' + row["body"].replace('"', '""') + '"' for row in ROWS)]
    tabs = "\n".join(["body\tstars", *(f"{row['body']}\t{row['stars']}" for row in ROWS)])
    words = "".join(f"the\tO\nfox{i}\tB-x\n\n" for i in range(30))
    trees = "".join(f"1\tfox{i}\tfox\tNOUN\tNN\t_\t0\troot\t_\t_\n\n" for i in range(30))
    paragraph = {"context": "a fox runs", "qas": [SQUAD["qas"][0] | {"id": str(i)} for i in range(30)]}
    parquet = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), parquet, write_page_checksum=True)
    yield "a.jsonl", JsonLines(jsonl=("a.jsonl",), columns=COLUMNS), lines.encode()
    yield "a.json", JsonLines(jsonl=("a.json",), columns=COLUMNS), json.dumps(ROWS, indent=1).encode()
    yield "a.csv", Csv(csv=("a.csv",), columns=COLUMNS), "\n".join(table).encode()
    yield "a.tsv", Tsv(tsv=("a.tsv",), columns=COLUMNS), tabs.encode()
    yield "a.conll", Conll(conll=("a.conll",)), words.encode()
    yield "a.conllu", Conllu(conllu=("a.conllu",)), trees.encode()
    yield "squad.json", Squad(squad=("squad.json",)), json.dumps({"version": "v2.0", "data": [{"paragraphs": [paragraph]}]}).encode()
    yield "a.parquet", Parquet(parquet=("a.parquet",), columns=COLUMNS), parquet.getvalue().to_pybytes()
    yield "a.jsonl.gz", JsonLines(jsonl=("a.jsonl.gz",), columns=COLUMNS), gzip.compress(lines.encode(), mtime=0)
    yield "a.csv.gz", Csv(csv=("a.csv.gz",), columns=COLUMNS), gzip.compress("\n".join(table).encode(), mtime=0)
    yield "a.txt.gz", TextFiles(text=("a.txt.gz",), document="line"), gzip.compress(lines.encode(), mtime=0)


@pytest.mark.parametrize(("name", "source", "raw"), [*fixtures()], ids=lambda value: value if isinstance(value, str) else "")
def test_corrupted_bytes_give_as_many_records_or_an_error_that_names_the_file(tmp_path, name, source, raw):
    file = tmp_path / name
    file.write_bytes(raw)
    assert len(list(read(source, base=tmp_path))) == len(ROWS)
    refusals = 0
    for what, changed in corrupted(raw):
        file.write_bytes(changed)
        try:
            found = len(list(read(source, base=tmp_path)))
        except DataError as error:
            assert name in str(error), what
            refusals += 1
        else:
            assert found >= len(ROWS) or (what.startswith("cut") and nothing_tells(name, raw, changed)), what
    assert refusals > PLACES


def test_corrupted_plain_text_keeps_its_bytes_or_names_them(tmp_path):
    raw = "".join(f"{row['body']} – naïve 春眠\n" for row in ROWS).encode()
    for what, changed in corrupted(raw):
        source = text(tmp_path, changed)
        try:
            found = "".join(d.text for d in read(source, base=tmp_path))
        except DataError as error:
            assert "a.txt:" in str(error), what
        else:
            assert found.encode() == changed, what
