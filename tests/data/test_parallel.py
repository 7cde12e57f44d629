"""Files that are aligned by line: a text and what is to be written for it stand at the same line, or nothing is read."""

import gzip
from pathlib import Path

import pytest

from lmkit.data.cache import open_cache
from lmkit.data.sources import read
from lmkit.data.spec import Data
from lmkit.errors import DataError
from lmkit.run.given import source_like
from lmkit.text.tokenizer import Tokenizer


def source(folder: Path, **files: str):
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return Data.model_validate({"train": {"text": str(folder / "*.en"), "target": str(folder / "*.de")}}).train["train"]


def test_lines_come_in_pairs_with_their_place(tmp_path: Path) -> None:
    found = list(read(source(tmp_path, a_en="one\ntwo\n", a_de="eins\nzwei", b_en="three\n", b_de="drei\n")))
    assert [(d.text, d.target) for d in found] == [("one", ("eins",)), ("two", ("zwei",)), ("three", ("drei",))]
    assert [(Path(d.file).name, d.line) for d in found] == [("a.en", 1), ("a.en", 2), ("b.en", 1)]


def test_another_number_of_lines_is_said_with_both_counts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.en: has 3 lines, and .*a.de, which it goes with, has 1"):
        list(read(source(tmp_path, a_en="one\ntwo\nthree\n", a_de="eins\n")))
    with pytest.raises(DataError, match=r"has 3 lines, .* has 4"):
        list(read(source(tmp_path, a_de="eins\nzwei\n\n\n")))


def test_a_file_without_its_partner_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 files of texts and 1 of targets"):
        list(read(source(tmp_path, a_en="one\n", b_en="two\n", a_de="eins\n")))


def test_a_line_that_is_blank_on_either_side_is_left_out_and_counted(tmp_path: Path, tokenizer: Tokenizer) -> None:
    cache = open_cache(source(tmp_path, a_en="w7\n\nw8\nw9\n", a_de="w1\nw2\n \nw3\n"), tokenizer, directory=tmp_path / "cache")
    assert len(cache) == 2 and cache.skipped == {"empty": 2}
    assert cache.tokens.tolist() == [7, 9]


def test_a_prefix_stands_before_every_text_and_makes_another_cache(tmp_path: Path, tokenizer: Tokenizer) -> None:
    words = source(tmp_path, a_en="7\n\n9\n", a_de="w1\nw2\nw3\n")
    plain = open_cache(words, tokenizer, directory=tmp_path / "cache")
    prefixed = open_cache(words, tokenizer, directory=tmp_path / "cache", prefix="w2")
    assert plain.tokens.tolist() == [tokenizer.unk] * 2 and prefixed.tokens.tolist() == [27, 29]
    assert plain.fingerprint != prefixed.fingerprint


def test_a_file_to_evaluate_brings_the_file_that_goes_with_it(tmp_path: Path) -> None:
    words = source(tmp_path, a_en="one\n", a_de="eins\n")
    (tmp_path / "test.en.gz").write_bytes(gzip.compress(b"two\n"))
    (tmp_path / "test.de.gz").write_bytes(gzip.compress(b"zwei\n"))
    assert [(d.text, d.target) for d in read(source_like(words, tmp_path / "test.en.gz"))] == [("two", ("zwei",))]
    with pytest.raises(DataError, match=r"pairs of files that end in \"\.en\" and \"\.de\""):
        source_like(words, tmp_path / "test.txt")
