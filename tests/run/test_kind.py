"""`lmkit init` for files that are no records: it sees what they are by their ending and by what stands in them."""

import gzip
import json
from pathlib import Path

import pytest

from lmkit.cli import main
from lmkit.spec_file.load import load

NAMES = "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\ngoes VBZ B-VP O\n\nPeter NNP B-NP B-PER\n"
PARTS = "From\tADP\nthe\tDET\n\nAP\tPROPN\n"
TREE = "# text = fox\n1\tfox\tfox\tNOUN\tNN\t_\t0\troot\t_\t_\n\n"
SQUAD = {"data": [{"paragraphs": [{"context": "a fox", "qas": [{"question": "who", "answers": [{"text": "fox", "answer_start": 2}]}]}]}]}
FILES = {
    "a.conll": ("conll", "token_classification", "f1", NAMES),
    "a.bio": ("conll", "token_classification", "f1", NAMES),
    "eng.train": ("conll", "token_classification", "f1", NAMES),
    "names.txt": ("conll", "token_classification", "f1", NAMES),
    "parts.conll": ("conll", "token_classification", "f1_tags", PARTS),
    "parts.tsv": ("conll", "token_classification", "f1_tags", PARTS),
    "a.conllu": ("conllu", "token_classification", "f1_tags", TREE),
    "tree.conll": ("conllu", "token_classification", "f1_tags", TREE),
    "tree.txt": ("conllu", "token_classification", "f1_tags", TREE),
    "a.json": ("squad", "question_answering", "f1", json.dumps(SQUAD, indent=2)),
    "a.tsv": ("tsv", "classification", "f1", "text\tlabel\na fox\tO\nb\tB\n"),
    "a.md": ("text", "causal_lm", "", "# A fox\n\nruns O\n"),
    "lines.txt": ("text", "causal_lm", "", "I O\n you\n\n"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_init_sees_what_a_file_is(tmp_path: Path, name: str, packed: bool) -> None:
    key, kind, best, content = FILES[name]
    path, spec = tmp_path / (name + ".gz" * packed), tmp_path / "spec.yaml"
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert main(["init", str(path), "-o", str(spec)]) == 0
    assert main(["check", "--strict", str(spec)]) == 0
    words = load(spec).spec
    source = words.data.train["train"]
    assert getattr(source, key) == (str(path),)
    assert [task.kind for task in words.tasks.values()] == [kind]
    stopping = words.training.early_stopping
    assert (stopping.monitor.rpartition("/")[2] if stopping else "") == best


def test_init_takes_two_files_that_are_aligned_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for ending in ("en", "de"):
        Path(f"val.{ending}").write_text("a\nb\n")
    assert main(["init", "text=val.en,target=val.de", "-o", "spec.yaml"]) == 0
    assert main(["check", "--strict", "spec.yaml"]) == 0
    words = load("spec.yaml").spec
    assert (words.name, words.model.kind, [task.kind for task in words.tasks.values()]) == ("val", "encoder_decoder", ["seq2seq"])
    assert [Path(path).name for path in words.data.train["train"].paths] == ["val.en", "val.de"]


@pytest.mark.parametrize(
    ("start", "content", "code", "says"),
    [
        ("text=a.en", None, 2, "RECIPE|DATA: expected FILE, or text=FILE,target=FILE, got text=a.en"),
        ("text=a.en,target=b.de", None, 3, "a.en: no such file"),
        ("val.en", b"a\n", 2, "val.en: is no kind of data file known here; known are .txt, .md, .jsonl,"),
        *((name, None, 3, f"{name}: no such file") for name in ("a.conll", "a.txt", "a.json", "a.csv")),
        *((name, b"", 3, f"{name}: is empty") for name in ("a.conll", "a.conllu", "a.txt", "a.json", "a.csv")),
        (".", None, 3, ".: is a folder"),
        ("a.conll", b"a\nb\n", 3, "a.conll:1: word and tag are the same column; lines have only one, the tags are missing"),
        ("a.conll", b"a O\nb\n", 3, "a.conll:2: 1 column where the first line has 2; a tag is missing"),
        ("a.conll", b"\xff O\n", 3, "a.conll:1:1: byte 0xff is not UTF-8"),
        ("a.conllu", b"1\ta\n", 3, "a.conllu:1: 2 columns, CoNLL-U has 10"),
    ],
)
def test_init_says_what_it_cannot_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    start: str,
    content: bytes | None,
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(start).write_bytes(content)
    assert main(["init", start]) == code
    out, err = capsys.readouterr()
    assert says in err and not out
