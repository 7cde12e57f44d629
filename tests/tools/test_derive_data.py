"""Data that is made of other data: what the rows hold, and that held-out files stay apart."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "derive_data.py"))


def rows(what: str, source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """The rows of each part that the command writes."""
    monkeypatch.setattr("sys.argv", ["derive_data.py", what, str(source), str(dest)])
    assert TOOL["main"]() == 0
    return {path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in dest.iterdir()}


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """Two books a part; sentence n of each is ten words that name it."""
    for part in ("train", "valid", "test"):
        (tmp_path / "books" / part).mkdir(parents=True)
        for book in "ab":
            sentences = (" ".join([f"{part.title()}{book}{n}"] * 10) + "." for n in range(40))
            (tmp_path / "books" / part / f"{book}.txt").write_text("\n\n".join(sentences))
    return tmp_path / "books"


def test_the_right_choice_goes_on_and_the_others_are_from_elsewhere_in_the_book(
    books: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rows("gutenberg-next", books, tmp_path / "next", monkeypatch)
    assert {part: len(each) for part, each in found.items()} == {"train": 20, "valid": 20, "test": 20}
    for part, row in ((part, row) for part, each in found.items() for row in each):
        passages = [row["text"], *row["choices"]]
        assert len(set(passages)) == 5 and all(len(passage.split()) == 20 for passage in passages)
        last, first = row["text"].split()[-1], row["choices"][row["label"]].split()[0]
        book = last[: len(part) + 1]
        assert int(first.removeprefix(book)) == int(last.rstrip(".").removeprefix(book)) + 1
        assert all(passage.startswith(book) for passage in passages), "every passage is of one book of the part"
    assert len({row["label"] for row in found["train"]}) == 4


def test_the_same_books_give_the_same_rows_and_one_that_is_too_short_none(
    books: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (books / "train" / "c.txt").write_text("Too short for four choices. " * 12)
    once, again = (rows("gutenberg-next", books, tmp_path / name, monkeypatch) for name in ("once", "again"))
    assert once == again and len(once["train"]) == 20


def test_a_sentence_has_each_type_of_its_names_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.conll").write_text("Ann\tB-person\nLee\tI-person\nin\tO\nRome\tB-location\nsaw\tO\nBo\tB-person\n\nNo\tO\n\n")
    found = rows("wnut17-names", tmp_path, tmp_path / "names", monkeypatch)
    assert list(found["dev"]) == [{"text": "Ann Lee in Rome saw Bo", "labels": ["location", "person"]}, {"text": "No", "labels": []}]


def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["derive_data.py", "wnut17-names", str(tmp_path), str(tmp_path / "names")])
    assert TOOL["main"]() == 3
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "names").exists()
