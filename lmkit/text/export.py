"""The files of a tokenizer as the rest of the world opens them, and as a run keeps them."""

import json
from typing import Any

from lmkit.text.folder import CONFIG, FACTS, TEMPLATE, TEMPLATES, TOKENIZER, TOKENS
from lmkit.text.roles import KEYS
from lmkit.text.tokenizer import Tokenizer


def run_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """What a folder must hold for `load_tokenizer` to give an equal tokenizer again; tokenizer.json comes last."""
    if not tokenizer.files:
        return {TOKENIZER: tokenizer.json}
    facts = {
        "vocab_size": tokenizer.vocab_size,
        "roles": tokenizer.roles,
        "ends": tokenizer.ends,
        "max_length": tokenizer.max_length,
    }
    files = {**tokenizer.files, FACTS: json.dumps(facts, indent=1).encode()}
    return files | {TOKENIZER: files.pop(TOKENIZER, tokenizer.json)}


def huggingface_files(tokenizer: Tokenizer, *, max_length: int | None = None, token_types: bool = True) -> dict[str, bytes]:
    """What transformers opens: the files that were imported, byte for byte, or for a tokenizer of our own those it would write.

    `token_types` says whether the model has token types, and so whether a tokenizer should give them.
    """
    if tokenizer.files.keys() - {TOKENIZER, TEMPLATE}:
        return {TOKENIZER: tokenizer.json} | tokenizer.files
    tokens = {key: tokenizer.token(tokenizer.roles[role]) for role, keys in KEYS.items() for key in keys if tokenizer.roles[role] >= 0}
    inputs = ["input_ids", *(["token_type_ids"] if token_types else []), "attention_mask"]
    config: dict[str, Any] = {**tokens, "clean_up_tokenization_spaces": False, "model_input_names": inputs}
    config |= {"model_max_length": max_length} if max_length else {}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    made: dict[str, Any] = {CONFIG: config, TOKENS: tokens}
    written = {name: json.dumps(value, indent=2, ensure_ascii=False) + "\n" for name, value in made.items()}
    return {TOKENIZER: tokenizer.json} | {name: text.encode() for name, text in written.items()} | tokenizer.files


def chat_templates(tokenizer: Tokenizer) -> dict[str, str]:
    """Chat templates by name, `default` the one that is used unless another is asked for; text/chat.py runs them."""
    config = json.loads(tokenizer.files.get(CONFIG, b"{}"))
    found = config.get("chat_template")
    templates = {"default": found} if isinstance(found, str) else {one["name"]: one["template"] for one in found or ()}
    if TEMPLATE in tokenizer.files:
        templates["default"] = tokenizer.files[TEMPLATE].decode("utf-8")
    for name, data in tokenizer.files.items():
        if name.startswith(TEMPLATES + "/"):
            templates[name.removeprefix(TEMPLATES + "/").removesuffix(".jinja")] = data.decode("utf-8")
    return templates
