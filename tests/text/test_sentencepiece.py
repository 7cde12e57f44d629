"""Folders with a SentencePiece model: its own ids for every text, what each make puts around them, and files that are none."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from lmkit.errors import CheckpointError
from lmkit.text.build import load_tokenizer
from lmkit.text.export import huggingface_files, run_files
from lmkit.text.piece_file import Kind, read_pieces
from lmkit.text.tokenizer import Tokenizer

HERE = Path(__file__).parent / "sentencepiece"
CASES = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))
MODELS = {name: gzip.decompress((HERE / f"{name}.model.gz").read_bytes()) for name in ("unigram", "bytes", "runs")}
PIECES = read_pieces(MODELS["unigram"]).pieces


def folder(path: Path, make: str, file: str, model: str, **config: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / file).write_bytes(MODELS[model])
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": f"{make}Tokenizer", **config}))
    return path


def row(made: Tokenizer, *texts: str) -> list[str]:
    (ids, *_), *_ = made.rows(texts[:1], texts[1:] or None)
    return [made.piece(index) for index in ids]


@pytest.mark.parametrize(("model", "make"), [("unigram", "T5"), ("bytes", "Llama"), ("runs", "Gemma")])
@pytest.mark.parametrize("specials", [True, False])
def test_every_text_has_the_ids_that_sentencepiece_gives_it(tmp_path: Path, model: str, make: str, specials: bool) -> None:
    made = load_tokenizer(folder(tmp_path, make, "tokenizer.model", model))
    for text, ids, decoded in zip(CASES["texts"], CASES[model]["ids"], CASES[model]["decoded"], strict=True):
        assert made.encode([text], specials=specials)[0].tolist() == ids, text
        if made.unk not in ids:
            assert made.decode(ids) == decoded


def test_control_tokens_in_running_text_are_text(tmp_path: Path) -> None:
    for make, model, forged in (
        ("T5", "unigram", "a </s> <extra_id_0>[CLS] b"),
        ("Gemma", "runs", "<bos>"),
        ("Llama", "bytes", "<s>a<0x0A>"),
    ):
        made = load_tokenizer(folder(tmp_path, make, "tokenizer.model", model))
        control = {i for i in made.specials if i != made.unk}
        assert control & set(made.encode([forged])[0].tolist())
        assert not control & set(made.encode([forged], specials=False)[0].tolist())


A, B, COUNT = "a man", "a hat", len(PIECES)
MAKES: dict[str, tuple[str, dict[str, Any], list[str], list[str], int]] = {
    "T5": ("spiece.model", {"extra_ids": 3}, ["A", "</s>"], ["A", "</s>", "B", "</s>"], COUNT + 3),
    "MT5": ("spiece.model", {}, ["A", "</s>"], ["A", "</s>", "B", "</s>"], COUNT),
    "XLMRoberta": ("sentencepiece.bpe.model", {}, ["<s>", "A", "</s>"], ["<s>", "A", "</s>", "</s>", "B", "</s>"], COUNT + 2),
    "Camembert": ("sentencepiece.bpe.model", {}, ["<s>", "A", "</s>"], ["<s>", "A", "</s>", "</s>", "B", "</s>"], COUNT + 5),
    "MBart": ("sentencepiece.bpe.model", {"src_lang": "de_DE"}, ["A", "</s>", "de_DE"], ["A", "B", "</s>", "de_DE"], COUNT + 27),
    "MBart50": ("sentencepiece.bpe.model", {}, ["en_XX", "A", "</s>"], ["en_XX", "A", "B", "</s>"], COUNT + 54),
    "Albert": ("spiece.model", {}, ["[CLS]", "A", "[SEP]"], ["[CLS]", "A", "[SEP]", "B", "[SEP]"], COUNT),
    "DebertaV2": ("spm.model", {}, ["[CLS]", "A", "[SEP]"], ["[CLS]", "A", "[SEP]", "B", "[SEP]"], COUNT),
    "Llama": ("tokenizer.model", {}, ["<s>", "A"], ["<s>", "A", "<s>", "B"], COUNT),
}


@pytest.mark.parametrize("make", MAKES)
def test_each_make_numbers_and_frames_the_same_pieces_in_its_way(tmp_path: Path, make: str) -> None:
    file, config, single, pair, rows = MAKES[make]
    made = load_tokenizer(folder(tmp_path, make, file, "unigram", **config))
    texts = {name: [PIECES[index].text for index in load(tmp_path, text)] for name, text in (("A", A), ("B", B))}
    for expected, given in ((single, (A,)), (pair, (A, B))):
        assert row(made, *given) == [piece for part in expected for piece in texts.get(part, [part])]
    assert made.vocab_size == rows


def load(path: Path, text: str) -> list[int]:
    return load_tokenizer(folder(path / "plain", "MT5", "spiece.model", "unigram")).encode([text])[0].tolist()  # type: ignore[no-any-return]


def test_a_make_is_known_by_its_model_where_no_class_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(MODELS["bytes"])
    (tmp_path / "config.json").write_text('{"model_type": "mistral"}')
    assert row(load_tokenizer(tmp_path), "a")[0] == "<s>"
    (tmp_path / "config.json").write_text('{"model_type": "xlnet"}')
    with pytest.raises(CheckpointError, match=r"tokenizer of xlnet is not known"):
        load_tokenizer(tmp_path)


def test_a_preset_of_keras_hub_holds_one_too(tmp_path: Path) -> None:
    (tmp_path / "assets" / "tokenizer").mkdir(parents=True)
    (tmp_path / "assets" / "tokenizer" / "vocabulary.spm").write_bytes(MODELS["bytes"])
    body = {"registered_name": "keras_hub>LlamaBackbone", "config": {"vocabulary_size": 1000}}
    made = {"registered_name": "keras_hub>LlamaTokenizer", "config": {}}
    packing = {"config": {"add_start_token": True, "add_end_token": False}}
    for name, value in (("config", body), ("tokenizer", made), ("preprocessor", packing)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    loaded = load_tokenizer(tmp_path)
    assert [one.ids.tolist() for one in loaded.rows(CASES["texts"])] == [[1, *ids] for ids in CASES["bytes"]["ids"]]


def test_the_space_before_a_text_stands_behind_special_tokens_too_unless_that_is_legacy(tmp_path: Path) -> None:
    old, new = (load_tokenizer(folder(tmp_path, "Llama", "tokenizer.model", "bytes", legacy=legacy)) for legacy in (True, False))
    assert [[made.piece(i) for i in made.encode(["a</s>a"])[0]] for made in (old, new)] == [["▁a", "</s>", "▁a"], ["▁a", "</s>", "a"]]


def test_accents_and_capitals_go_where_the_make_has_none(tmp_path: Path) -> None:
    made = load_tokenizer(folder(tmp_path, "Albert", "spiece.model", "unigram"))
    kept = load_tokenizer(folder(tmp_path, "Albert", "spiece.model", "unigram", do_lower_case=False, keep_accents=True))
    assert row(made, "A ``Mán''") == row(made, 'a "man"') == row(kept, 'a "man"') != row(kept, 'A "Mán"')


def test_two_languages_share_a_numbering_and_the_source_cuts_the_text(tmp_path: Path) -> None:
    source = [piece.text for piece in PIECES if piece.kind == Kind.NORMAL]
    texts = ["</s>", "<unk>", ">>deu<<", "ß", "▁Straße", *source, "<pad>"]
    (tmp_path / "vocab.json").write_text(json.dumps({text: i for i, text in enumerate(texts)}))
    (tmp_path / "target.spm").write_bytes(b"any")
    made = load_tokenizer(folder(tmp_path, "Marian", "source.spm", "unigram"))
    plain = [PIECES[index].text for index in load(tmp_path, "a man")]
    assert row(made, ">>deu<< a man") == [">>deu<<", *plain, "</s>"]
    assert "▁Straße" not in row(made, "Straße") and "ß" in row(made, "Straße")
    assert made.decode([4, texts.index("▁a")]) == "Straße a"
    (tmp_path / "vocab.json").write_text('{"</s>": 0, "a": 2}')
    with pytest.raises(CheckpointError, match=r"vocab.json beside it does not number"):
        load_tokenizer(tmp_path)


def test_the_files_go_out_as_they_came_in_and_a_run_reads_them_no_more(tmp_path: Path) -> None:
    given = folder(tmp_path / "in", "XLMRoberta", "sentencepiece.bpe.model", "unigram")
    made = load_tokenizer(given)
    files = huggingface_files(made)
    assert {file.name: file.read_bytes() for file in given.iterdir()} == {name: files[name] for name in files if name != "tokenizer.json"}
    (tmp_path / "run").mkdir()
    for name, data in run_files(made).items():
        (tmp_path / "run" / name).write_bytes(b"damaged" if name.endswith(".model") else data)
    assert load_tokenizer(tmp_path / "run").hash == made.hash


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has no pieces"),
        (b"\xff" * 20, "a number without an end"),
        (b"\x0b", "a field of kind 3"),
        (MODELS["bytes"][:-9], "cut off"),
        (b"\x0a\x05\x0a\x01\xff\x18\x01", "no SentencePiece model"),
        (b"\x08\x01", "a number for bytes"),
        (b"\x0a\x03\x0a\x01a" + b"\x12\x02\x18\x03", "only unigram and BPE"),
        (b"\x0a\x03\x0a\x01a", "what is unknown"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "spiece.model").write_bytes(data)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(CheckpointError, match=said) as caught:
        load_tokenizer(tmp_path)
    assert len(str(caught.value).splitlines()) == 1 and "spiece.model" in str(caught.value)


def test_no_cut_of_a_model_is_a_traceback() -> None:
    whole = MODELS["bytes"]
    for stop in range(0, len(whole), 7):
        try:
            read_pieces(whole[:stop])
        except ValueError as error:
            assert "SentencePiece" in str(error)
