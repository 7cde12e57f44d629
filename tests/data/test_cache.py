"""A cache is whole or not there, is what the source says, and is built again when it was damaged."""

import errno
import json
import os
from itertools import pairwise

import numpy as np
import pytest

from lmkit.data.cache import open_cache
from lmkit.data.spec import JsonLines, TextFiles
from lmkit.errors import DataError, Interrupted, MachineError
from lmkit.text.build import train_tokenizer
from lmkit.text.spec import Bpe, Character, WordPiece

TEXTS = ["One day. It rained, and rained!", "春眠不覺曉。處處聞啼鳥。", "Third text here."]
TOKENIZER = train_tokenizer(Bpe(vocab_size=300), TEXTS * 3)


@pytest.fixture
def corpus(tmp_path):
    for i, text in enumerate(TEXTS):
        (tmp_path / f"{i}.txt").write_text(text)
    return TextFiles(text=("*.txt",))


def opened(source, tmp_path, tokenizer=TOKENIZER, **more):
    return open_cache(source, tokenizer, directory=tmp_path / "cache", base=tmp_path, **more)


def documents(cache, tokenizer=TOKENIZER):
    edges = cache.documents
    return [tokenizer.decode(cache.tokens[a:b]) for a, b in pairwise(edges)]


def test_the_documents_of_the_cache_are_those_of_the_source(corpus, tmp_path):
    cache = opened(corpus, tmp_path)
    assert documents(cache) == TEXTS
    assert cache.bytes == sum(len(t.encode()) for t in TEXTS)
    assert cache.tokens.dtype == np.uint16
    assert cache.where(1).endswith("1.txt:1")
    assert cache.sentences is None and not cache.more


def test_sentences_cover_the_tokens_and_respect_documents(corpus, tmp_path):
    cache = opened(corpus, tmp_path, needs_sentences=True)
    edges = cache.sentences
    found = [TOKENIZER.decode(cache.tokens[a:b]).strip() for a, b in pairwise(edges)]
    assert found == ["One day.", "It rained, and rained!", "春眠不覺曉。", "處處聞啼鳥。", "Third text here."]
    assert set(cache.documents.tolist()) <= set(edges.tolist())
    assert documents(cache) == TEXTS


def test_pairs_and_labels_are_columns_and_empty_records_are_counted(tmp_path):
    rows = [("a b", "c", 10), ("", "x", 2), ("d", " ", 2), ("e", "f g", 2), ("h", "i", 10)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"x": x, "y": y, "z": z}) + "\n" for x, y, z in rows))
    cache = opened(JsonLines(jsonl=("a.jsonl",), columns={"text": "x", "text_pair": "y", "label": "z"}), tmp_path)
    assert documents(cache) == ["a b", "e", "h"]
    tokens, edges = cache.text("pair")
    assert [TOKENIZER.decode(tokens[a:b]) for a, b in pairwise(edges)] == ["c", "f g", "i"]
    assert cache.names == {"labels": ("2", "10")}
    assert cache.more["labels"].tolist() == [1, 0, 1]
    assert cache.skipped == {"empty": 2}
    assert cache.where(1).endswith("a.jsonl:4")


@pytest.mark.parametrize("spec", [Bpe(vocab_size=300), WordPiece(vocab_size=100), Character()], ids=lambda s: s.kind)
def test_a_document_read_in_parts_is_one_document_with_the_same_tokens(spec, tmp_path, monkeypatch):
    whole = "".join(f"Line {i} of it. And more \n\n" for i in range(300))
    (tmp_path / "a.txt").write_text(whole)
    (tmp_path / "b.txt").write_text("Short one.")
    tokenizer = train_tokenizer(spec, [whole, "Short"])
    monkeypatch.setattr("lmkit.data.plain_text.PART", 1000)
    monkeypatch.setattr("lmkit.data.tokenize.BATCH", 1500)
    for sentences in (False, True):
        cache = opened(TextFiles(text=("*.txt",)), tmp_path, tokenizer, needs_sentences=sentences)
        assert len(cache) == 2
        expected = tokenizer.encode([whole, "Short one."])
        assert cache.documents.tolist() == [0, len(expected[0]), len(expected[0]) + len(expected[1])]
        assert cache.tokens.tolist() == np.concatenate(expected).tolist()
    assert set(cache.documents.tolist()) <= set(cache.sentences.tolist())
    assert len(cache.sentences) > 500


def test_a_second_opening_reads_nothing_again(corpus, tmp_path, monkeypatch):
    first = opened(corpus, tmp_path)
    monkeypatch.setattr("lmkit.data.cache.tokenize", lambda *_, **__: pytest.fail("built again"))
    again = opened(corpus, tmp_path)
    assert again.fingerprint == first.fingerprint
    assert not again.tokens.flags.writeable


def test_other_text_another_tokenizer_or_other_words_make_another_cache(corpus, tmp_path):
    marks = {opened(corpus, tmp_path).fingerprint, opened(corpus, tmp_path, needs_sentences=True).fingerprint}
    marks.add(opened(corpus.model_copy(update={"document": "line"}), tmp_path).fingerprint)
    marks.add(opened(corpus, tmp_path, train_tokenizer(Character(), TEXTS)).fingerprint)
    (tmp_path / "1.txt").write_text(TEXTS[1].replace("春", "秋"))
    marks.add(opened(corpus, tmp_path).fingerprint)
    assert len(marks) == 5
    assert opened(corpus.model_copy(update={"weight": 3.0}), tmp_path).fingerprint in marks


@pytest.mark.parametrize("damage", ["cut", "gone", "flipped", "no metadata", "garbled metadata", "token out of range"])
def test_a_damaged_cache_is_built_again(corpus, tmp_path, damage):
    cache = opened(corpus, tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    tokens, meta = folder / "tokens.npy", folder / "cache.json"
    expected = cache.tokens.tolist()
    raw = tokens.read_bytes()
    match damage:
        case "cut":
            tokens.write_bytes(raw[:-2])
        case "gone":
            tokens.unlink()
        case "flipped":
            tokens.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        case "no metadata":
            meta.unlink()
        case "garbled metadata":
            meta.write_text(meta.read_text()[:-9])
        case "token out of range":
            import zlib

            data = np.load(tokens)
            data[0] = TOKENIZER.vocab_size
            np.save(tokens, data)
            meta.write_text(
                meta.read_text().replace(str(json.loads(meta.read_text())["columns"]["tokens"]["crc32"]), str(zlib.crc32(data.data)))
            )
    said = []
    again = opened(corpus, tmp_path, warn=said.append)
    assert again.tokens.tolist() == expected
    assert len(said) == 1
    assert "built again" in said[0]


def test_stopping_leaves_nothing_behind(corpus, tmp_path):
    with pytest.raises(Interrupted) as caught:
        opened(corpus, tmp_path, stop=lambda: True)
    assert caught.value.exit_code == 75
    assert not list(tmp_path.glob("cache/*")) + list(tmp_path.glob("cache/.*"))


def test_bad_data_leaves_nothing_behind(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"good line\n" * 10 + b"\xff\n")
    with pytest.raises(DataError):
        opened(TextFiles(text=("a.txt",)), tmp_path)
    assert not list(tmp_path.glob("cache/*")) + list(tmp_path.glob("cache/.*"))


def test_what_a_killed_build_left_is_swept_away(corpus, tmp_path):
    import socket
    import subprocess

    dead = subprocess.Popen(["true"])
    dead.wait()
    left = tmp_path / "cache" / f".abc.{socket.gethostname()}.{dead.pid}"
    left.mkdir(parents=True)
    opened(corpus, tmp_path)
    assert not left.exists()


def test_progress_counts_documents_and_tokens(corpus, tmp_path):
    seen = []
    cache = opened(corpus, tmp_path, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (len(cache), len(cache.tokens))


def test_a_file_named_twice_is_said_once(corpus, tmp_path):
    said = []
    assert len(opened(corpus.model_copy(update={"text": ("*.txt", "1.txt")}), tmp_path, warn=said.append)) == 3
    assert len(said) == 1
    assert "1.txt named twice; read once" in said[0]


@pytest.mark.parametrize(("code", "fix"), [(errno.ENOSPC, "; free some space and run the same command again"), (errno.EROFS, "")])
def test_a_disk_that_refuses_leaves_no_cache_and_says_what_to_do(corpus, tmp_path, monkeypatch, code, fix):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("lmkit.data.cache.tokenize", refuse)
    with pytest.raises(MachineError) as error:
        opened(corpus, tmp_path)
    assert str(error.value) == f"{tmp_path / 'cache'}: the token cache cannot be written: {os.strerror(code)}{fix}"
    assert list((tmp_path / "cache").iterdir()) == []
