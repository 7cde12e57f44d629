"""Every kind of record in every format, and everything that may be wrong with its file: `lmkit data` says it in one line.

What is wrong stands in the file that trains; a label that is not known stands in one that validates.
"""

import gzip
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from lmkit.cli import main

SPEC = """\
name: a
tokenizer: {kind: character}
data: {train: {TRAIN}, validation: {VALIDATION}, max_length: 48TEMPLATE}
model: {kind: BODY}
tasks: {t: TASK}
training: {steps: 2, batch_size: 2, optimizer: {kind: sgd, learning_rate: 0.1}}
"""
SIZES = "hidden_size: 8, num_heads: 2"
BODIES = {
    "encoder": f"encoder, num_layers: 1, {SIZES}",
    "decoder": f"decoder, num_layers: 1, {SIZES}",
    "both": f"encoder_decoder, encoder: {{num_layers: 1}}, decoder: {{num_layers: 1}}, {SIZES}",
}
CHAT = ", chat_template: chatml"
PARTNER = "one fox\ntwo\nthree\nfour\n"  # of the file whose lines another file's go with


@dataclass(frozen=True)
class Kind:
    """A file that is right, and what is wrong with it by the name of the fault: its content, and the beginning of what is said."""

    file: str
    source: str
    task: str
    good: bytes
    wrong: Mapping[str, tuple[bytes, str]]
    body: str = "encoder"
    template: str = ""


def objects(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def array(*records: Any) -> bytes:
    return json.dumps(records, indent=1).encode()


def table(mark: str) -> Callable[..., bytes]:
    def made(*records: Mapping[str, Any]) -> bytes:
        return "".join(mark.join(map(str, row)) + "\n" for row in (records[0], *(record.values() for record in records))).encode()

    return made


def parquet(*records: Any) -> bytes:
    out = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(records)), out)
    return bytes(out.getvalue().to_pybytes())


def words(*tagged: tuple[str, str]) -> bytes:
    return "".join(f"{word} {tag}\n" for word, tag in tagged).encode() + b"\n"


def tree(*tagged: tuple[str, str]) -> bytes:
    rows = (f"{number}\t{word}\t{word}\t{tag}\tX\t_\t0\troot\t_\t_\n" for number, (word, tag) in enumerate(tagged, 1))
    return "".join(rows).encode() + b"\n"


def squad(*starts: int, **more: Any) -> bytes:
    asked = [{"id": f"q{n}", "question": f"who {n}", "answers": [{"text": "fox", "answer_start": start}]} for n, start in enumerate(starts)]
    asked[-1] |= more
    return json.dumps({"version": "v2.0", "data": [{"paragraphs": [{"context": "a fox runs", "qas": asked}]}]}, indent=1).encode()


def kinds() -> Iterable[tuple[str, Kind]]:
    """Records of each kind come in JSON lines; those with one label come in all formats, which say the place of a field differently."""
    one, other = {"body": "a fox", "stars": "good"}, {"body": "a dog", "stars": "bad"}
    lacks = ((one, {"body": "a dog"}), "stars: field is missing; the record has 'body'")
    renamed = (({"body": "a fox", "star": "good"},) * 2, "no column 'stars'; the columns are 'body', 'star'; did you mean 'star'?")
    fraction, empty = ((other | {"stars": 1.5},) * 2, "stars: expected a label"), ((one, one | {"stars": ""}), "stars: the label is empty")
    ugly = ((one, one | {"stars": "ugly"}), 'tasks.t.labels: label "ugly" is not one of bad, good; no text of the training data has it')
    for file, write, missing, kind, lines_of in (
        ("a.jsonl", objects, lacks, fraction, (2, 1, 2)),
        ("a.json", array, lacks, fraction, (6, 2, 6)),
        ("a.csv", table(","), renamed, empty, (1, 3, 3)),
        ("a.tsv", table("\t"), renamed, empty, (1, 3, 3)),
        ("a.parquet", parquet, renamed, fraction, (0, 1, 2)),
    ):
        faults = zip(
            ("a field that is missing", "a value of another kind", "an unknown label"), (missing, kind, ugly), lines_of, strict=True
        )
        wrong = {name: (write(*records), f":{line}: {says}" if line else f": {says}") for name, (records, says), line in faults}
        source = f"{{KEY: {file}, columns: {{text: body, label: stars}}}}"
        yield f"label in {file}", Kind(file, source, "classification", write(one, other), wrong)

    def lines(source: str, task: str, good: Any, missing: Any, kind: Any, label: Any = None, **more: Any) -> Kind:
        wrong = {"a field that is missing": missing, "a value of another kind": kind} | ({"an unknown label": label} if label else {})
        told = {name: (objects(good, record), ":2: " + said) for name, (record, said) in wrong.items()}
        return Kind("a.jsonl", f"{{KEY: a.jsonl, columns: {source}}}", task, objects(good, good), told, **more)

    yield (
        "labels",
        lines(
            "{text: a, labels: b}",
            "{kind: classification, multi_label: true, labels: [x, y]}",
            {"a": "fox", "b": ["x", "y"]},
            ({"a": "fox"}, "b: field is missing"),
            ({"a": "fox", "b": 5}, "b: expected a list of labels, got the number 5"),
            ({"a": "fox", "b": ["x", "z"]}, 'tasks.t.labels: label "z" is not one of x, y; if it is one, list it there too'),
        ),
    )
    yield (
        "value",
        lines(
            "{text: a, value: b}",
            "regression",
            {"a": "fox", "b": 1.5},
            ({"a": "fox"}, "b: field is missing"),
            ({"a": "fox", "b": "much"}, 'b: expected a number, got "much"'),
            ({"a": "fox", "b": None}, "b: field is null"),
        ),
    )
    yield (
        "similarity",
        lines(
            "{text: a, text_pair: b, value: c}",
            "{kind: sentence_embedding, loss: cosine, values: [0, 5]}",
            {"a": "fox", "b": "dog", "c": 5},
            ({"a": "fox", "c": 5}, "b: field is missing"),
            ({"a": "fox", "b": ["dog"], "c": 5}, "b: expected text, got a list"),
            ({"a": "fox", "b": "dog", "c": 7}, "tasks.t.values: 7 would stand for a cosine of 1.4, and those are -1 to 1"),
        ),
    )
    yield (
        "choices",
        lines(
            "{text: a, choices: b, label: c}",
            "multiple_choice",
            {"a": "fox", "b": ["x", "y"], "c": 1},
            ({"a": "fox", "c": 1}, "b: field is missing"),
            ({"a": "fox", "b": "x", "c": 1}, 'b: expected a list such as ["one", "other"], or a field for each choice'),
            ({"a": "fox", "b": ["x", "y"], "c": 2}, 'c: "2" is none of the 2 choices; write 0 to 1, A to B, or its text'),
        ),
    )
    yield (
        "tags",
        lines(
            "{words: a, tags: b}",
            "token_classification",
            {"a": ["fox", "runs"], "b": ["B-X", "O"]},
            ({"a": ["fox"]}, "b: field is missing"),
            ({"a": ["fox"], "b": ["O", "O"]}, "b: 2 tags where 'a' has 1 words"),
            ({"a": ["fox"], "b": ["B-Y"]}, 'tasks.t.labels: label "B-Y" is not one of B-X, O; no text of the training data has it'),
        ),
    )
    yield (
        "answers",
        lines(
            "{text: a, text_pair: b, answers: c}",
            "question_answering",
            {"a": "who", "b": "a fox", "c": {"text": ["fox"], "answer_start": [2]}},
            ({"a": "who", "b": "a fox"}, "c: field is missing"),
            ({"a": "who", "b": "a fox", "c": 5}, "c: expected a list of answers, got the number 5"),
            (
                {"a": "who", "b": "a fox", "c": {"text": ["fox"], "answer_start": [1]}},
                'answers: the answer "fox" does not stand at character 1',
            ),
        ),
    )
    yield (
        "target",
        lines(
            "{text: a, target: b}",
            "seq2seq",
            {"a": "fox", "b": "dog"},
            ({"a": "fox"}, "b: field is missing"),
            ({"a": "fox", "b": []}, "b: no text to learn; give one or remove the record"),
            body="both",
        ),
    )
    yield (
        "messages",
        lines(
            "{messages: a}",
            "causal_lm",
            {"a": [{"role": "user", "content": "fox"}, {"role": "assistant", "content": "runs"}]},
            ({"b": []}, "a: field is missing"),
            ({"a": [{"role": "user"}]}, "a[0].content: expected text, got null"),
            ({"a": [{"role": "ghost", "content": "boo"}]}, 'a[0]: "ghost" is no speaker; those known are user,'),
            body="decoder",
            template=CHAT,
        ),
    )
    for task, body in (("dpo", "decoder"), ("reward", "encoder")):
        yield (
            task,
            lines(
                "{prompt: a, chosen: b, rejected: c}",
                task,
                {"a": "say", "b": "fox", "c": "no"},
                ({"a": "say", "b": "fox"}, "c: field is missing"),
                ({"a": "say", "b": "fox", "c": 4}, "c: expected a text or a list of messages"),
                ({"a": "say", "b": "", "c": "no"}, "b: is empty; give it a text or remove the record"),
                body=body,
                template=CHAT,
            ),
        )
    good, fox = (("fox", "B-X"), ("runs", "O")), ("fox", "B-X")
    yield (
        "conll",
        Kind(
            "a.conll",
            "{KEY: a.conll}",
            "token_classification",
            words(*good) * 2,
            {
                "a field that is missing": (words(*good) + words(("fox", "")), ":4: 1 column where the first line has 2; a tag is missing"),
                "a value of another kind": (
                    words(*good) + words(fox, ("two words", "O")),
                    ":5: 3 columns where the first line has 2; remove what",
                ),
                "an unknown label": (
                    words(*good) + words(fox, ("runs", "B-Y")),
                    ':5: tasks.t.labels: label "B-Y" is not one of B-X, O; no text',
                ),
            },
        ),
    )
    yield (
        "conllu",
        Kind(
            "a.conllu",
            "{KEY: a.conllu}",
            "token_classification",
            tree(("fox", "N"), ("runs", "V")) * 2,
            {
                "a field that is missing": (
                    tree(("fox", "N"), ("runs", "_")),
                    ':2: "runs" has no UPOS, only _; choose another column for tags',
                ),
                "a value of another kind": (tree(("fox", "N")).replace(b"1", b"x"), ':1: ID: expected 1, got "x"'),
                "an unknown label": (
                    tree(("fox", "N")) + tree(fox, ("runs", "V")),
                    ':3: tasks.t.labels: label "B-X" is not one of N, V; no text',
                ),
            },
        ),
    )
    yield (
        "squad",
        Kind(
            "a.json",
            "{KEY: a.json}",
            "question_answering",
            squad(2, 2),
            {
                "a field that is missing": (squad(2, 2, question=None), ":21 (q1): question: is missing; there are"),
                "a value of another kind": (squad(2, 2, question=7), ":21 (q1): question: expected text, got the number 7"),
                "an unknown label": (squad(2, 3), ':21 (q1): answers: the answer "fox" does not stand at character 3, where "ox " does'),
            },
        ),
    )
    yield (
        "text",
        Kind("a.txt", "{KEY: a.txt, document: line}", "causal_lm", b"one fox runs far away\ntwo foxes run further\n" * 8, {}, "decoder"),
    )
    partly = (PARTNER[:9].encode(), ": has 2 lines, and ")
    yield "parallel", Kind("a.en", "{KEY: a.en, target: b.de}", "seq2seq", PARTNER.encode(), {"a field that is missing": partly}, "both")


KINDS = dict(kinds())
KEYS = {"en": "text", "txt": "text", "json": "jsonl"}
PACKED = (".parquet",)  # a format of bytes: no lines, no text, its own checksum


def said(capsys: pytest.CaptureFixture[str], kind: Kind, content: bytes | None, *, held: bool = False) -> tuple[int, list[str]]:
    """The exit code of `lmkit data` and what it says of a file with this content (None: it is a folder) that trains, or is `held` out."""
    ending = kind.file.rpartition(".")[2]
    key = "squad" if "question" in kind.task and ending == "json" else KEYS.get(ending, ending)
    shutil.rmtree("good", ignore_errors=True)
    Path("good").mkdir()
    Path(f"good/{kind.file}").write_bytes(kind.good)
    for partner in ("b.de", "good/b.de"):
        Path(partner).write_text(PARTNER)
    if content is None:
        shutil.copytree("good", kind.file, ignore=shutil.ignore_patterns("b.de"))
    else:
        Path(kind.file).write_bytes(content)
    wrong = kind.source.replace("KEY", key)
    right = wrong.replace(kind.file, f"good/{kind.file}").replace("b.de", "good/b.de")
    spec = SPEC.replace("{TRAIN}", right if held else wrong).replace("{VALIDATION}", wrong if held else right)
    spec = spec.replace("TEMPLATE", kind.template).replace("TASK", kind.task).replace("BODY", BODIES[kind.body])
    Path("spec.yaml").write_text(spec)
    code = main(["data", "spec.yaml"])
    assert "tensorflow" not in sys.modules or HEAVY
    return code, [line for line in capsys.readouterr().err.splitlines() if not line.startswith("training the tokenizer")]


HEAVY = "tensorflow" in sys.modules  # by another test of this process


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], kind: Kind, content: bytes | None, pattern: str, *, held: bool = False) -> None:
    code, lines = said(capsys, kind, content, held=held)
    assert code == 3 and len(lines) == 1, lines
    assert re.match(re.escape(str(Path(kind.file).absolute())) + pattern, lines[0]), lines[0]


@pytest.mark.parametrize("name", KINDS)
def test_what_is_right_is_read_with_either_line_end_a_byte_order_mark_and_blank_lines(capsys, name: str) -> None:
    kind = KINDS[name]
    changed = [kind.good]
    if not kind.file.endswith(PACKED):
        changed.append(b"\xef\xbb\xbf" + kind.good.replace(b"\n", b"\r\n"))
        changed += [b"\n\n" + kind.good + b"\n \n"] if name != "parallel" else []
    for content in changed:
        assert said(capsys, kind, content)[0] == 0


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_none_or_no_text_is_named(capsys, name: str) -> None:
    kind = KINDS[name]
    refused(capsys, kind, b"", ": is empty")
    text = not kind.file.endswith(PACKED)
    at = kind.good.index(b"o")
    line = kind.good.count(b"\n", 0, at) + 1
    latin = kind.good[:at] + b"\xf6" + kind.good[at + 1 :]
    refused(
        capsys, kind, latin, rf":{line}:\d+: byte 0xf6 is not UTF-8; convert the file, or set" if text else ": is no whole Parquet file"
    )
    refused(capsys, kind, gzip.compress(kind.good), ":1:2: byte 0x8b is not UTF-8" if text else ": is no whole Parquet file")
    Path(kind.file).unlink()
    refused(capsys, kind, None, rf": is a folder; write for example \S+/\*{re.escape(Path(kind.file).suffix)}$")


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("text", "parallel")])
def test_a_file_that_is_cut_off_inside_a_record_is_named_with_the_line(capsys, name: str) -> None:
    kind = KINDS[name]
    body = kind.good.rstrip()
    cut = body[: max(body.rfind(mark) for mark in (b"\t", b" ", b","))] if name.startswith(("label", "conll")) else body[:-3]
    line = 6 if kind.file == "a.json" and "label" in name else cut.count(b"\n") + 1  # of an array, where the record begins
    place = ": " if kind.file.endswith(PACKED) else rf":{line}(:\d+)?: "
    refused(capsys, kind, cut, place)


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, kind in KINDS.items() for fault in kind.wrong])
def test_a_record_that_is_wrong_is_named_with_its_line_and_the_fix(capsys, name: str, fault: str) -> None:
    content, says = KINDS[name].wrong[fault]
    refused(capsys, KINDS[name], content, re.escape(says), held=fault == "an unknown label")
