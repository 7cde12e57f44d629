"""Tokenizers of folders without tokenizer.json: BERT's words (vocab.txt), GPT-2's bytes (vocab.json, merges.txt), SentencePiece's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from lmkit.errors import CheckpointError
from lmkit.text import sentencepiece
from lmkit.text.roles import content

# Folders of these makes cut text as GPT-2 does; others with the same two files do not.
BYTES = ("gpt2", "gpt_neo", "gptj", "opt", "phi", "codegen", "starcoder2", "granite", "roberta", "bart", "longformer", "led", "gptbigcode")
ROBERTA = ("roberta", "bart", "longformer", "led")
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"  # Qwen 2 and 3


def build(files: Mapping[str, bytes], config: Mapping[str, Any], model_type: str, where: Path) -> tokenizers.Tokenizer:
    """The tokenizer of a folder's vocabulary files; `config` is its tokenizer_config.json.

    Raises CheckpointError where there is no vocabulary that can be read without running foreign code.
    """
    if "vocab.json" in files and "merges.txt" in files:
        return _bytes(files, config, model_type, where)
    if "vocab.txt" in files:
        return _words(files["vocab.txt"].decode("utf-8"), config)
    if any(name in files for name in sentencepiece.NAMES):
        return sentencepiece.build(files, config, model_type, where)
    what = "a tokenizer is read from it, from vocab.txt, vocab.json with merges.txt, or a SentencePiece model"
    raise CheckpointError(f"{where}: has no tokenizer.json; {what}")


def _words(text: str, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """BERT's; MPNet's where the vocabulary has <s> in place of [CLS]."""
    vocab = {piece: i for i, piece in enumerate(text.removesuffix("\n").split("\n"))}
    bert = "[CLS]" in vocab
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]" if bert else "<s>", "sep_token": "[SEP]" if bert else "</s>"}
    names |= {"pad_token": "[PAD]" if bert else "<pad>", "mask_token": "[MASK]" if bert else "<mask>"}
    names = {key: content(config.get(key)) or name for key, name in names.items()}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab=vocab, unk_token=names["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    backend.add_special_tokens([AddedToken(n, lstrip=n == "<mask>", special=True) for n in dict.fromkeys(names.values()) if n in vocab])
    cls, sep = ((names[key], vocab[names[key]]) for key in ("cls_token", "sep_token"))
    if bert:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{cls[0]}:0 $A:0 {sep[0]}:0", pair=f"{cls[0]}:0 $A:0 {sep[0]}:0 $B:1 {sep[0]}:1", special_tokens=[cls, sep]
        )
    else:
        backend.post_processor = processors.RobertaProcessing(sep, cls, True, False)
    return backend


def _bytes(files: Mapping[str, bytes], config: Mapping[str, Any], model_type: str, where: Path) -> tokenizers.Tokenizer:
    make = str(config.get("tokenizer_class") or model_type).lower().removesuffix("fast").removesuffix("tokenizer")
    qwen = make.startswith("qwen")
    if not qwen and make not in BYTES:
        raise CheckpointError(f"{where}: has no tokenizer.json, and vocab.json and merges.txt of {make or 'an unnamed make'} are not known")
    vocab = json.loads(files["vocab.json"])
    lines = files["merges.txt"].decode("utf-8").split("\n")
    merges = [(line.split(" ")[0], line.split(" ")[1]) for line in lines if line and not line.startswith("#version")]
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=False))
    prefix = bool(config.get("add_prefix_space", False))
    backend.decoder = decoders.ByteLevel()
    if qwen:
        backend.normalizer = normalizers.NFC()
        parts = [pre_tokenizers.Split(Regex(QWEN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)]
        backend.pre_tokenizer = pre_tokenizers.Sequence(parts)
    else:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    if make in ROBERTA:
        cls, sep = (content(config.get(key)) or name for key, name in (("cls_token", "<s>"), ("sep_token", "</s>")))
        backend.post_processor = processors.RobertaProcessing((sep, vocab[sep]), (cls, vocab[cls]), True, prefix)
        known = [AddedToken(n, lstrip=n == "<mask>", special=True) for n in ("<s>", "<pad>", "</s>", "<unk>", "<mask>") if n in vocab]
        backend.add_special_tokens(known)
    else:
        backend.post_processor = processors.ByteLevel(trim_offsets=False)
        if "<|endoftext|>" in vocab:
            backend.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return backend
