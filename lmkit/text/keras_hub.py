"""Tokenizers of keras-hub presets: read as if they stood in a Hugging Face folder, and written as keras-hub reads them."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors

from lmkit.errors import CheckpointError
from lmkit.text.tokenizer import Tokenizer

OBJECT, PACKING, ASSETS = "tokenizer.json", "preprocessor.json", "assets/tokenizer"
BERT = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
GPT2 = ("<|endoftext|>",)
LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
LLAMA3_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
Given = dict[str, Any]  # by name: bytes, or what is to be JSON
Read = Callable[[str], bytes | None]


class Unread(Exception):
    """A tokenizer, in words, that stands in a preset and has no form here."""


def preset_files(folder: Path, read: Read, names: Iterable[str]) -> dict[str, bytes] | None:
    """The files of a Hugging Face folder that say what a preset's tokenizer does; None where the folder is no preset.

    A tokenizer.json of the tokenizers library among the assets comes first, with those of `names` beside it. Raises CheckpointError for
    a tokenizer that only foreign code can read.
    """
    body = _object(folder, read, "config.json")
    if "registered_name" not in body:
        return None
    made = _object(folder, read, OBJECT)
    name, config = str(made.get("registered_name", "")).partition(">")[2], made.get("config")
    packing = _object(folder, read, PACKING).get("config")
    try:
        beside: Given = {name: data for name in names if (data := read(f"{ASSETS}/{name}")) is not None}
        given = beside if OBJECT in beside else _given(name, config or {}, packing or {}, lambda asset: _asset(folder, read, asset))
        given["config.json"] = {"vocab_size": body["config"]["vocabulary_size"], **given.get("config.json", {})}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder / OBJECT}: cannot be read: {type(error).__name__}: {str(error)[:100]}") from None
    except Unread as error:
        what = f"{error}, which lmkit does not read; put the tokenizers library's tokenizer.json of this model into {folder / ASSETS}"
        raise CheckpointError(f"{folder / OBJECT}: {what}") from None
    return {key: value if isinstance(value, bytes) else json.dumps(value).encode() for key, value in given.items()}


def _object(folder: Path, read: Read, name: str) -> dict[str, Any]:
    try:
        made = json.loads(read(name) or b"{}")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / name}: cannot be read: {str(error)[:200]}") from None
    return made if isinstance(made, dict) else {}


def _asset(folder: Path, read: Read, name: str) -> bytes:
    data = read(f"{ASSETS}/{name}")
    if data is None:
        raise CheckpointError(f"{folder / ASSETS / name}: does not exist, and {folder / OBJECT} needs it")
    return data


def _given(name: str, config: Mapping[str, Any], packing: Mapping[str, Any], asset: Callable[[str], bytes]) -> Given:
    ends = {f"add_{ours}_token": bool(packing.get(f"add_{theirs}_token", True)) for ours, theirs in (("bos", "start"), ("eos", "end"))}
    match name:
        case "BertTokenizer":
            for key, usual in (("split", True), ("suffix_indicator", "##")):
                if config.get(key, usual) != usual:
                    raise Unread(f"a BertTokenizer with {key} = {config[key]!r}")
            words = "\n".join(line.rstrip() for line in asset("vocabulary.txt").decode("utf-8").removesuffix("\n").split("\n"))
            flags = {"do_lower_case": bool(config.get("lowercase")), "strip_accents": bool(config.get("strip_accents"))}
            said = {**BERT, "unk_token": config.get("oov_token", "[UNK]"), **flags, "tokenizer_class": "BertTokenizer"}
            return {"tokenizer_config.json": said, "vocab.txt": words.encode()}
        case "GPT2Tokenizer":
            said = {"bos_token": GPT2[0], "eos_token": GPT2[0], **ends, "tokenizer_class": "GPT2Tokenizer"}
            said["add_prefix_space"] = bool(config.get("add_prefix_space"))
            return {"tokenizer_config.json": said, "vocab.json": asset("vocabulary.json"), "merges.txt": asset("merges.txt")}
        case "Llama3Tokenizer":
            backend = _llama3(json.loads(asset("vocabulary.json")), asset("merges.txt").decode("utf-8"), config)
            said = {"bos_token": LLAMA3[0], "eos_token": LLAMA3[1], **ends, "tokenizer_class": "PreTrainedTokenizerFast"}
            stops = [index for stop in (LLAMA3[1], LLAMA3[4]) if (index := backend.token_to_id(stop)) is not None]
            return {"tokenizer_config.json": said, OBJECT: backend.to_str().encode(), "config.json": {"eos_token_id": stops}}
        case "LlamaTokenizer":
            said = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", **ends, "tokenizer_class": name}
            return {"tokenizer_config.json": said, "tokenizer.model": asset("vocabulary.spm")}
        case "":
            raise Unread("no tokenizer of keras-hub")
    raise Unread(f"a {name[:60]}")


def _llama3(vocab: dict[str, int], merges: str, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    pairs = [(line.split(" ")[0], line.split(" ")[1]) for line in merges.split("\n") if line.strip() and not line.startswith("#version")]
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    space = bool(config.get("add_prefix_space"))
    words = [pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=False)]
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Sequence(words), decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    known = [*LLAMA3, *(config.get("unsplittable_tokens") or ())]
    backend.add_special_tokens([AddedToken(token, special=True) for token in dict.fromkeys(known) if token in vocab])
    return backend


def preset_tokenizer(tokenizer: Tokenizer, name: str) -> dict[str, bytes]:
    """The files of keras-hub's tokenizer for a backbone, and how its preprocessor packs; none where it has no tokenizer of this make."""
    made = json.loads(tokenizer.json)
    vocab = {**_vocab(made["model"].get("vocab")), **{token["content"]: token["id"] for token in made["added_tokens"]}}
    match name:
        case "BertBackbone" if made["model"]["type"] == "WordPiece" and all(token in vocab for token in BERT.values()):
            return _bert(made, vocab)
        case "GPT2Backbone" if GPT2[0] in vocab and _splits(made) == "gpt2":
            return _pairs(made, vocab, "GPT2Tokenizer", GPT2) | _packing(tokenizer)
        case "Llama3Backbone" if all(token in vocab for token in LLAMA3) and _splits(made) == "llama3":
            return _pairs(made, vocab, "Llama3Tokenizer", LLAMA3) | _packing(tokenizer)
    return {}


def _packing(tokenizer: Tokenizer) -> dict[str, bytes]:
    """What stands around a text."""
    before, behind = tokenizer.template.single.gaps
    return {PACKING: json.dumps({"add_start_token": bool(before), "add_end_token": bool(behind)}).encode()}


def _vocab(given: Any) -> dict[str, int]:
    return dict(given) if isinstance(given, dict) else {piece: index for index, (piece, *_) in enumerate(given or ())}


def _splits(made: Mapping[str, Any]) -> str:
    """Which of the two ways to cut text into words a byte-level tokenizer has."""
    cut = made["pre_tokenizer"] or {}
    if made["model"]["type"] != "BPE" or made["normalizer"] is not None:
        return ""
    if cut.get("type") == "ByteLevel" and cut.get("use_regex", True):
        return "gpt2"
    parts = cut.get("pretokenizers") or [{}]
    return "llama3" if len(parts) == 2 and (parts[0].get("pattern") or {}).get("Regex") == LLAMA3_WORDS else ""


def _bert(made: Mapping[str, Any], vocab: Mapping[str, int]) -> dict[str, bytes]:
    steps = made["normalizer"] or {}
    steps = steps.get("normalizers") or [steps]
    bert = steps[-1]
    words = [word for word, _ in sorted(vocab.items(), key=lambda item: item[1])]
    plain = all(word and word == word.rstrip() and "\n" not in word and "\r" not in word for word in words)
    usual = bert.get("type") == "BertNormalizer" and bert["handle_chinese_chars"] and all(step["type"] == "NFC" for step in steps[:-1])
    if not (plain and usual and made["model"]["continuing_subword_prefix"] == "##" and max(vocab.values()) == len(words) - 1):
        return {}
    lower, strip = bool(bert["lowercase"]), bert["strip_accents"]
    config: dict[str, Any] = {"sequence_length": None, "lowercase": lower, "strip_accents": lower if strip is None else bool(strip)}
    config |= {"split": True, "suffix_indicator": "##", "oov_token": made["model"]["unk_token"], "special_tokens": None}
    config["special_tokens_in_strings"] = False
    listed = "".join(f"{word}\n" for word in words).encode()
    return {OBJECT: _written("BertTokenizer", "bert", {"vocabulary": None, **config}), f"{ASSETS}/vocabulary.txt": listed}


def _pairs(made: Mapping[str, Any], vocab: Mapping[str, int], name: str, special: tuple[str, ...]) -> dict[str, bytes]:
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in made["model"]["merges"]]
    cut = made["pre_tokenizer"]
    cut = cut["pretokenizers"][-1] if "pretokenizers" in cut else cut
    config = {"sequence_length": None, "add_prefix_space": bool(cut["add_prefix_space"]), "unsplittable_tokens": list(special)}
    module = name.removesuffix("Tokenizer").lower()
    return {
        OBJECT: _written(name, module, config),
        f"{ASSETS}/vocabulary.json": json.dumps(dict(sorted(vocab.items(), key=lambda item: item[1]))).encode(),
        f"{ASSETS}/merges.txt": "".join(f"{merge}\n" for merge in merges).encode(),
    }


def _written(name: str, module: str, config: Mapping[str, Any]) -> bytes:
    dtype = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "int32"}, "registered_name": None}
    common = {"name": f"{module}_tokenizer", "trainable": True, "dtype": dtype, "config_file": OBJECT}
    made = {"module": f"keras_hub.src.models.{module}.{module}_tokenizer", "class_name": name, "config": {**common, **config}}
    return (json.dumps({**made, "registered_name": f"keras_hub>{name}"}, indent=4) + "\n").encode()
