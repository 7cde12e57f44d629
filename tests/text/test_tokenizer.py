"""Every kind of tokenizer: what comes back is what went in, and the facts about ids are true."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmkit.errors import CheckpointError, DataError, SpecError
from lmkit.text.build import load_tokenizer, train_tokenizer
from lmkit.text.spec import Bpe, Character, FromFile, Unigram, WordPiece

ENGLISH = "The quick brown fox's 12 friends, don't they jump?\n\n  Over the lazy dog -- again; and again.\n"
CHINESE = "春眠不覺曉，處處聞啼鳥。\n夜來風雨聲，花落知多少？\n"
CORPUS = [ENGLISH * 8, CHINESE * 8, "café naïve Ελλάδα 日本語のテキスト\t\u3000x\xa0y\n" * 8]
SPECS = {
    "bpe": Bpe(vocab_size=400),
    "wordpiece": WordPiece(vocab_size=300),
    "unigram": Unigram(vocab_size=300),
    "character": Character(),
    "lowercase": Bpe(vocab_size=300, lowercase=True, normalization="nfkc"),
}
MADE = {name: train_tokenizer(spec, CORPUS) for name, spec in SPECS.items()}
SEEN = sorted(set("".join(CORPUS)))


@pytest.fixture(params=SPECS)
def name(request):
    return request.param


@given(st.text(max_size=80))
@settings(max_examples=150, deadline=None)
def test_any_text_comes_back_from_bytes(text):
    bpe = MADE["bpe"]
    assert bpe.decode(bpe.encode([text], specials=False)[0], skip_special=False) == text


@pytest.mark.parametrize("kind", ["unigram", "character"])
@given(text=st.text(alphabet=st.sampled_from(SEEN), max_size=80))
@settings(max_examples=100, deadline=None)
def test_text_of_known_characters_comes_back(kind, text):
    tokenizer = MADE[kind]
    ids = tokenizer.encode([text])[0]
    assert tokenizer.unk not in ids
    assert tokenizer.decode(ids) == text.replace("▁", " ")


@given(st.lists(st.text(alphabet=st.sampled_from([*SEEN, "\x1c", "\x85", "…", "\u2028"]), max_size=60), max_size=4))
@settings(max_examples=150, deadline=None)
def test_remembered_words_give_the_ids_of_the_whole_text(texts):
    for tokenizer in MADE.values():
        for fast, whole in zip(tokenizer.encode(texts, specials=False), tokenizer.encode(texts), strict=True):
            assert fast.dtype == np.int32
            assert fast.tolist() == whole.tolist()


def test_words_come_back_from_wordpiece_and_chinese_without_blanks():
    wordpiece = MADE["wordpiece"]
    assert wordpiece.decode(wordpiece.encode(["The lazy dog, again."])[0]) == "The lazy dog, again."
    assert wordpiece.decode(wordpiece.encode(["春眠不覺曉，處處聞啼鳥。"])[0]) == "春眠不覺曉，處處聞啼鳥。"


def test_the_same_texts_give_the_same_tokenizer(name):
    assert train_tokenizer(SPECS[name], iter(CORPUS)).hash == MADE[name].hash


@pytest.mark.parametrize("spec", [WordPiece(vocab_size=200), Unigram(vocab_size=200)], ids=["wordpiece", "unigram"])
def test_the_same_texts_give_the_same_tokenizer_in_another_process(spec):
    import subprocess
    import sys

    code = (
        "import sys, json; from lmkit.text.build import train_tokenizer; from lmkit.text.spec import *;"
        f"print(train_tokenizer({type(spec).__name__}(vocab_size=200), json.load(sys.stdin)).hash)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(CORPUS), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == train_tokenizer(spec, CORPUS).hash


def test_a_vocabulary_has_as_many_rows_as_asked_and_the_file_remembers(tmp_path):
    for kind in ("bpe", "wordpiece", "unigram"):
        made = train_tokenizer(SPECS[kind].model_copy(update={"vocab_size": 5000}), CORPUS)
        assert made.vocab_size == 5000
        assert made.unused > 0
        made.save(tmp_path / "tokenizer.json")
        again = load_tokenizer(tmp_path)
        assert (again.vocab_size, again.unused, again.hash) == (5000, made.unused, made.hash)
        ids = made.encode([*CORPUS, "<unused0> <unused7>"], specials=False)
        assert max(map(max, ids)) < 5000 - made.unused
        assert made.decode([4999, 4998]) == ""


def test_all_ids_are_below_the_vocabulary_size(name):
    made = MADE[name]
    assert max(ids.max() for ids in made.encode(CORPUS)) < made.vocab_size
    assert made.word_start.shape == made.byte_length.shape == (made.vocab_size,)


def test_saving_and_loading_keeps_everything(name, tmp_path):
    made = MADE[name]
    made.save(tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert again.hash == made.hash
    assert [again.pad, again.unk, again.bos, again.eos, again.mask] == [0, 1, 2, 3, 4]
    assert all(a.tolist() == b.tolist() for a, b in zip(again.encode(CORPUS), made.encode(CORPUS), strict=True))
    assert train_tokenizer(FromFile(**{"from": str(tmp_path)}), []).hash == made.hash


def test_the_mask_is_read_in_prompts_and_never_in_a_corpus():
    for kind, text in (("wordpiece", "the [MASK] dog"), ("bpe", "the<mask> dog"), ("character", "a<mask>b")):
        made = MADE[kind]
        assert made.mask in made.encode([text])[0]
        assert made.mask not in made.encode([text], specials=False)[0]


def test_byte_lengths_add_up_to_the_text():
    for kind in ("bpe", "unigram", "character"):
        made = MADE[kind]
        assert sum(made.byte_length[ids].sum() for ids in made.encode(CORPUS)) == sum(len(t.encode()) for t in CORPUS)


def test_word_starts_are_the_words():
    text = "The fox jumps, again. 春眠"
    for kind, words in (
        ("bpe", ["The", " fox", " jumps", ",", " again", ".", " ", "春", "眠"]),
        ("character", ["The", " fox", " jumps", ",", " again", ".", " ", "春", "眠"]),
        ("wordpiece", ["The", "fox", "jumps", ",", "again", ".", "春", "眠"]),
    ):
        made = MADE[kind]
        ids = made.encode([text])[0]
        starts = made.word_start[ids]
        starts[0] = True
        edges = [*np.flatnonzero(starts), len(ids)]
        found = [made.decode(ids[a:b]) for a, b in pairwise(edges)]
        if kind == "bpe":  # " 春" may be one word with its blank
            assert "".join(found) == text
            assert found[:6] == words[:6]
        else:
            assert found == words


def test_offsets_point_into_the_text(name):
    text = "The lazy dog. 春眠不覺曉"
    made = MADE[name]
    ids, spans = made.spans([text])[0]
    assert ids.tolist() == made.encode([text], specials=False)[0].tolist()
    assert len(spans) == len(ids)
    assert all(0 <= a <= b <= len(text) for a, b in spans)


def test_pieces_are_readable():
    bpe = MADE["bpe"]
    assert "".join(bpe.piece(i) for i in bpe.encode(["The dog"])[0]) == "The dog"
    assert bpe.piece(bpe.mask) == "<mask>"


def test_no_text_is_an_error(name):
    with pytest.raises(DataError, match="no text"):
        train_tokenizer(SPECS[name], ["", " \n"])


def test_a_very_long_line_is_learned_from_quickly():
    text = "word " * 200_000 + "x" * 100_000
    for kind in ("bpe", "wordpiece"):
        assert train_tokenizer(SPECS[kind], [text]).vocab_size == SPECS[kind].vocab_size


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "no tokenizer.json"),
        (b"{}", "no model"),
        (b"[1, 2]", "no model"),
        (b"\xff\xfe\x00", "no tokenizer.json"),
        (b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}', "no tokens|no tokenizer.json"),
        (b'{"model": {"type": "BPE", "vocab": {"a": 99999999}, "merges": []}, "added_tokens": []}', "token ids|no tokenizer.json"),
        (b"[" * 100_000, "no tokenizer.json"),
    ],
)
def test_what_is_no_tokenizer_is_refused_by_name(tmp_path, content, said):
    file = tmp_path / "tokenizer.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as caught:
        load_tokenizer(file)
    assert str(file) in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_tokenizer_file_cut_or_changed_anywhere_never_gives_a_traceback(tmp_path):
    MADE["wordpiece"].save(tmp_path / "whole.json")
    whole = (tmp_path / "whole.json").read_bytes()
    file = tmp_path / "tokenizer.json"
    for at in range(0, len(whole), len(whole) // 40):
        for changed in (whole[:at], whole[:at] + b"\x00" + whole[at + 1 :], whole[:at] + b'"' + whole[at:]):
            file.write_bytes(changed)
            try:
                load_tokenizer(file)
            except CheckpointError as error:
                assert str(file) in str(error)


def test_truncation_and_padding_of_a_foreign_file_are_dropped(tmp_path):
    made = MADE["wordpiece"]
    made.save(tmp_path / "tokenizer.json")
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert load_tokenizer(tmp_path).encode(["The lazy dog"])[0].tolist() == made.encode(["The lazy dog"])[0].tolist()


def test_roles_of_a_gpt2_file_are_found_and_missing_ones_are_named(tmp_path):
    MADE["bpe"].save(tmp_path / "tokenizer.json")
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] == "</s>"]
    content["added_tokens"][0]["content"] = "<|endoftext|>"
    vocab = content["model"]["vocab"]
    vocab["<|endoftext|>"] = vocab.pop("</s>")
    for i, unused in enumerate(("<pad>", "<unk>", "<s>", "<mask>")):
        vocab[f"other{i}"] = vocab.pop(unused)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    made = load_tokenizer(tmp_path)
    assert made.eos == made.bos == made.pad == 3
    assert made.unk == made.mask == -1
    assert made.require("eos", "causal_lm") == 3
    with pytest.raises(SpecError, match="masked_lm needs a mask token"):
        made.require("mask", "masked_lm")


def test_more_rows_than_tokens_may_be_asked_for_and_fewer_may_not(tmp_path):
    MADE["character"].save(tmp_path / "tokenizer.json")
    size = MADE["character"].vocab_size
    padded = load_tokenizer(tmp_path, size + 10)
    assert padded.vocab_size == size + 10
    assert padded.decode([size + 3]) == ""
    assert padded.hash != MADE["character"].hash
    with pytest.raises(CheckpointError, match="more than"):
        load_tokenizer(tmp_path, size - 1)
