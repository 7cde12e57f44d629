"""Tokenizers of keras-hub presets: read as if they stood in a Hugging Face folder, and written as keras-hub reads them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers

from lmkit.errors import CheckpointError
from lmkit.text.tokenizer import Tokenizer

OBJECT, ASSETS, EXACT = "tokenizer.json", "assets/tokenizer", "assets/tokenizer/tokenizer.json"
BERT = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
GPT2_END = "<|endoftext|>"
LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
LLAMA3_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LIKE = "which lmkit does not read; save its tokenizer as the tokenizers library does, as"

Read = Callable[[str], bytes | None]


def preset_files(folder: Path, read: Read) -> dict[str, bytes] | None:
    """The files of a Hugging Face folder that say what a preset's tokenizer does; None where the folder is no preset.

    Raises CheckpointError for tokenizers that only foreign code can read.
    """
    body = _parsed(folder, read, "config.json")
    if "registered_name" not in body:
        return None
    made, packing = _parsed(folder, read, OBJECT), _parsed(folder, read, "preprocessor.json").get("config") or {}
    name, config = str(made.get("registered_name", "")).partition(">")[2], made.get("config") or {}
    rows = (body.get("config") or {}).get("vocabulary_size")
    exact = read(EXACT)
    try:
        given = _given(name, config, packing, lambda asset: _asset(folder, read, asset), exact)
        given["config.json"] = {"vocab_size": rows, **given.get("config.json", {})}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder / OBJECT}: cannot be read: {type(error).__name__}: {str(error)[:100]}") from None
    if given.get("refused") and exact is None:
        raise CheckpointError(f"{folder / OBJECT}: {given['refused']} {EXACT}")
    files = {key: value if isinstance(value, bytes) else json.dumps(value).encode() for key, value in given.items() if key != "refused"}
    return files if exact is None else {**files, "tokenizer.json": exact}


def _given(name: str, config: Mapping[str, Any], packing: Mapping[str, Any], asset: Callable[[str], bytes], exact: bytes | None) -> dict[str, Any]:
    """By class the files, those that are JSON as values; `refused` says what only an exact tokenizer.json can make good."""
    match name:
        case "BertTokenizer":
            odd = [key for key, usual in (("split", True), ("suffix_indicator", "##")) if config.get(key, usual) != usual]
            said = {"do_lower_case": bool(config.get("lowercase")), "strip_accents": bool(config.get("strip_accents"))}
            said |= {**BERT, "unk_token": config.get("oov_token", "[UNK]"), "tokenizer_class": "BertTokenizer"}
            words = "\n".join(line.rstrip() for line in asset("vocabulary.txt").decode("utf-8").splitlines())
            return {"tokenizer_config.json": said, "vocab.txt": words.encode(), **({"refused": f"{odd[0]} = {config[odd[0]]!r}, {LIKE}"} if odd else {})}
        case "GPT2Tokenizer":
            said = {"bos_token": GPT2_END, "eos_token": GPT2_END, "tokenizer_class": "GPT2Tokenizer", **_packed(packing)}
            said["add_prefix_space"] = bool(config.get("add_prefix_space"))
            return {"tokenizer_config.json": said, "vocab.json": asset("vocabulary.json"), "merges.txt": asset("merges.txt")}
        case "Llama3Tokenizer":
            backend = _llama3(json.loads(asset("vocabulary.json")), asset("merges.txt").decode("utf-8"), config)
            said = {"bos_token": LLAMA3[0], "eos_token": LLAMA3[1], "tokenizer_class": "PreTrainedTokenizerFast", **_packed(packing)}
            ends = [index for end in (LLAMA3[1], LLAMA3[4]) if (index := backend.token_to_id(end)) is not None]
            return {"tokenizer_config.json": said, "tokenizer.json": backend.to_str().encode(), "config.json": {"eos_token_id": ends}}
    what = f"{name or 'no class of keras-hub'}, {LIKE}"
    roles = {"bos_token": "<s>", "eos_token": "</s>", **_packed(packing)} if name == "LlamaTokenizer" else {}
    return {"refused": what, "tokenizer_config.json": roles}
