"""Tokenizers of Hugging Face folders: what the files say of tokens, folders without tokenizer.json, and what is written again."""

import json
from pathlib import Path

import pytest
import tokenizers

from lmkit.errors import CheckpointError
from lmkit.text.build import load_tokenizer, train_tokenizer
from lmkit.text.export import chat_templates, huggingface_files, run_files
from lmkit.text.spec import Bpe, Character, Unigram, WordPiece
from lmkit.text.template import Frame, Template, bare, repeated

TEXTS = ["The quick brown fox isn't here; the dog  is.", "Déjà vu? 春眠不覺曉", "", "a [MASK] b<mask> c"]
CORPUS = [
    "The quick brown fox's 12 friends, don't they jump?\nOver the lazy dog -- again; and again.\n" * 9,
    "Déjà vu café 春眠不覺曉\n" * 9,
]


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def dump(**values: object) -> bytes:
    return json.dumps(values).encode()


@pytest.fixture(scope="module")
def bpe():
    return train_tokenizer(Bpe(vocab_size=300), CORPUS)


def test_roles_are_those_the_files_name_in_any_spelling(tmp_path, bpe):
    config = dump(
        eos_token={"content": "<unk>", "lstrip": False}, cls_token="<mask>", pad_token=None, model_max_length=77, tokenizer_class="X"
    )
    folder = {"tokenizer.json": bpe.json, "tokenizer_config.json": config, "special_tokens_map.json": dump(mask_token="<s>")}
    model = {"vocab_size": 320, "pad_token_id": 2, "eos_token_id": [7, 8]}
    made = load_tokenizer(written(tmp_path, folder | {"config.json": dump(**model)}))
    assert (made.eos, made.bos, made.pad, made.mask, made.unk) == (1, 4, 2, 2, -1)
    assert (made.vocab_size, made.max_length, made.ends) == (320, 77, (1, 7, 8))


def test_files_that_name_nothing_leave_it_to_the_known_names(tmp_path, bpe):
    made = load_tokenizer(written(tmp_path, {"tokenizer.json": bpe.json, "tokenizer_config.json": dump(do_lower_case=True)}))
    assert made.roles == bpe.roles


def test_flags_of_the_config_put_bos_and_eos_around_texts(tmp_path, bpe):
    config = dump(bos_token="<s>", eos_token="</s>", add_bos_token=True, add_eos_token=False)
    made = load_tokenizer(written(tmp_path, {"tokenizer.json": bpe.json, "tokenizer_config.json": config}))
    assert made.template == repeated(2, -1) != bpe.template


def test_a_folder_without_post_processor_adds_nothing_and_a_lone_file_bos_and_eos(tmp_path, bpe):
    content = json.loads(bpe.json) | {"post_processor": None}
    file = written(tmp_path, {"tokenizer.json": json.dumps(content).encode()})
    alone = load_tokenizer(file)
    assert (alone.template, alone.hash) == (bpe.template, bpe.hash)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert load_tokenizer(file).template == bare()


def test_an_added_token_without_a_row_is_dropped(tmp_path, bpe):
    backend = tokenizers.Tokenizer.from_str(bpe.json.decode())
    backend.add_special_tokens(["<late>"])
    folder = written(tmp_path, {"tokenizer.json": backend.to_str().encode(), "config.json": dump(vocab_size=300)})
    made = load_tokenizer(folder)
    assert made.vocab_size == 300
    assert max(made.encode(["a <late> b"])[0]) < 300
    assert huggingface_files(made)["tokenizer.json"] == (folder / "tokenizer.json").read_bytes()


def test_the_length_of_a_sentence_encoder_wins(tmp_path, bpe):
    files = {"tokenizer.json": bpe.json, "tokenizer_config.json": dump(model_max_length=512), "modules.json": b"[]"}
    assert load_tokenizer(written(tmp_path, files | {"sentence_bert_config.json": dump(max_seq_length=256)})).max_length == 256
    endless = {"tokenizer_config.json": dump(model_max_length=1e30), "sentence_bert_config.json": b"{}"}
    assert load_tokenizer(written(tmp_path, endless)).max_length is None


def test_files_come_out_as_they_went_in_and_a_run_keeps_what_others_said(tmp_path, bpe):
    content = json.loads(bpe.json)
    content["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    given = {
        "tokenizer.json": json.dumps(content, indent=3).encode(),
        "tokenizer_config.json": dump(eos_token="</s>", chat_template=[{"name": "default", "template": "{{a}}"}]),
        "special_tokens_map.json": b"{ }",
        "chat_template.jinja": b"{{b}}",
        "additional_chat_templates/tools.jinja": b"{{c}}",
    }
    made = load_tokenizer(written(tmp_path / "in", given | {"config.json": dump(vocab_size=333, bos_token_id=9)}))
    assert huggingface_files(made) == given
    assert chat_templates(made) == {"default": "{{b}}", "tools": "{{c}}"}
    again = load_tokenizer(written(tmp_path / "run", run_files(made)))
    assert (again.hash, again.roles, again.vocab_size, again.ends) == (made.hash, made.roles, 333, made.ends)
    assert again.bos == 9 and len(again.rows(["the lazy dog " * 9])[0].ids) > 9
    assert huggingface_files(again) == given


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "No such file"),
        ({"tokenizer_config.json": b"{}"}, "has no tokenizer.json"),
        ({"spiece.model": b"\x0a"}, "spiece.model: is no SentencePiece model"),
        ({"vocab.json": b"{}", "merges.txt": b"", "config.json": b'{"model_type": "ctrl"}'}, "ctrl are not known"),
        ({"vocab.json": b"[", "merges.txt": b"", "config.json": b'{"model_type": "gpt2"}'}, "is no tokenizer.json"),
        ({"vocab.txt": b"a\nb\n"}, "is no tokenizer.json"),
        ({"tokenizer.json": b"{}", "tokenizer_config.json": b"[1]"}, "tokenizer_config.json: cannot be read"),
        ({"tokenizer.json": b"{}", "config.json": b"{"}, "config.json: cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, files, said):
    with pytest.raises(CheckpointError, match=said) as caught:
        load_tokenizer(written(tmp_path, files))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


class TestAgainstTransformers:
    """The same folder opened by both."""

    @staticmethod
    def check(folder: Path, made=None) -> None:
        transformers = pytest.importorskip("transformers")
        ours, theirs = made or load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
        for first, second in [*((text, None) for text in TEXTS), (TEXTS[0], TEXTS[1])]:
            row = ours.rows([first], [second], specials=True)[0]
            their = theirs(first, second)
            assert row.ids.tolist() == their["input_ids"], first
            if "token_type_ids" in their:
                assert row.types.tolist() == their["token_type_ids"]
            longer = ours.rows([first], [second], max_length=9, specials=True)[0]
            assert longer.ids.tolist() == theirs(first, second, truncation="longest_first", max_length=9)["input_ids"]
        for role, key in (("pad", "pad"), ("eos", "sep"), ("eos", "eos"), ("mask", "mask")):
            index = getattr(theirs, f"{key}_token_id")
            assert index in (None, ours.vocab_size, ours.roles[role]), key  # some classes there bring a token that no row is for

    @pytest.mark.parametrize("spec", [Bpe(vocab_size=300), WordPiece(vocab_size=300), Unigram(vocab_size=200), Character()])
    def test_our_own_tokenizers_give_the_same_rows_there(self, tmp_path, spec):
        made = train_tokenizer(spec, CORPUS)
        folder = written(tmp_path, huggingface_files(made, max_length=64) | {"config.json": dump(model_type="bert")})
        self.check(folder, made)
        assert load_tokenizer(folder).max_length == 64

    @pytest.mark.parametrize("model", ["bert", "distilbert", "electra"])
    @pytest.mark.parametrize("config", [{}, {"do_lower_case": False}, {"strip_accents": False, "tokenize_chinese_chars": False}])
    def test_words_from_vocab_txt(self, tmp_path, model, config):
        vocab = train_tokenizer(WordPiece(vocab_size=300), CORPUS)
        pieces = "".join(vocab.token(i) + "\n" for i in range(300)).encode()
        files = {"vocab.txt": pieces, "config.json": dump(model_type=model, vocab_size=300)}
        self.check(written(tmp_path, files | ({"tokenizer_config.json": dump(**config)} if config else {})))

    def test_words_of_mpnet(self, tmp_path):
        made = train_tokenizer(WordPiece(vocab_size=300), CORPUS)
        names = {"[PAD]": "<pad>", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}
        pieces = "".join(names.get(made.token(i), made.token(i)) + "\n" for i in range(300)).encode()
        self.check(written(tmp_path, {"vocab.txt": pieces, "config.json": dump(model_type="mpnet", vocab_size=300)}))

    @pytest.mark.parametrize(
        ("model", "config"),
        [
            ("gpt2", {}),
            ("gpt2", {"add_prefix_space": True}),
            ("roberta", {}),
            ("bart", {"tokenizer_class": "BartTokenizer"}),
            ("opt", {"tokenizer_class": "GPT2Tokenizer", "bos_token": "</s>", "eos_token": "</s>", "add_bos_token": True}),
            ("qwen2", {"tokenizer_class": "Qwen2Tokenizer"}),
        ],
    )  # fmt: skip
    def test_bytes_from_vocab_json_and_merges(self, tmp_path, bpe, model, config):
        content = json.loads(bpe.json)["model"]
        vocab = dict(content["vocab"])
        if model in ("gpt2", "qwen2"):
            vocab = {("<|endoftext|>" if i == 0 else f"other{i}") if i < 5 else piece: i for piece, i in vocab.items()}
        files = {
            "vocab.json": json.dumps(vocab).encode(),
            "merges.txt": ("#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in content["merges"])).encode(),
            "config.json": dump(model_type=model, vocab_size=len(vocab)),
        }
        self.check(written(tmp_path, files | ({"tokenizer_config.json": dump(**config)} if config else {})))


def test_a_llama_folder_s_pair_has_two_beginnings():
    assert repeated(5, -1) == Template(Frame((((5, 0),), ()), (0,)), Frame((((5, 0),), ((5, 1),), ()), (0, 1)))
