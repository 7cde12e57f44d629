"""Which tokens play the roles: named by the files beside a tokenizer.json, or known by the names they have in the wild."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

TRAINED = ("pad", "unk", "bos", "eos", "mask")  # what ids 0 to 4 are in a tokenizer that is trained here
# The names under which tokenizers in the wild keep the five roles, best first.
ROLES = {
    "pad": ("[PAD]", "<pad>", "<|pad|>", "<|padding|>", "<|finetune_right_pad_id|>", "<|endoftext|>"),
    "unk": ("[UNK]", "<unk>", "<|unk|>"),
    "bos": ("[CLS]", "<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>"),
    "eos": ("[SEP]", "</s>", "<eos>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
}
# Where tokenizer_config.json and special_tokens_map.json name them, and config.json and generation_config.json number them.
KEYS = {
    "pad": ("pad_token",),
    "unk": ("unk_token",),
    "bos": ("bos_token", "cls_token"),
    "eos": ("eos_token", "sep_token"),
    "mask": ("mask_token",),
}
Find = Callable[[str], int | None]


def by_name(find: Find) -> dict[str, int]:
    """Roles of a tokenizer that nothing is said about: the first known name that is in the vocabulary."""
    found = {role: (find(name) for name in names) for role, names in ROLES.items()}
    return {role: next((index for index in ids if index is not None), -1) for role, ids in found.items()}


def content(token: Any) -> str | None:
    """The text of a token, written as a string or (older) as a mapping with its flags."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None


def named(maps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Special tokens by key, as the first of the maps that has the key says."""
    keys = [key for of_role in KEYS.values() for key in of_role]
    return {key: next(m[key] for m in maps if key in m) for key in keys if any(key in m for m in maps)}


def from_files(find: Find, tokens: Mapping[str, Any], models: Sequence[Mapping[str, Any]], rows: int) -> dict[str, int]:
    """Roles as the files say: by the name of the token, else by its number in the model's own config.

    Files that name no token at all (BERT's of old) leave it to the names known in the wild.
    """
    roles = {} if any(content(token) for token in tokens.values()) else by_name(find)
    for role, keys in KEYS.items():
        ids = [find(name) for key in keys if (name := content(tokens.get(key))) is not None]
        numbers = [index for key in keys for index in numbered(models, key, rows)]
        known = [index for index in ids if index is not None] + numbers
        roles[role] = known[0] if known else roles.get(role, -1)
    return roles


def numbered(models: Sequence[Mapping[str, Any]], key: str, rows: int) -> list[int]:
    """The ids that configs give a token, one or several each; what is no row of the embedding is no id."""
    found = [model.get(f"{key}_id") for model in models]
    flat = [index for value in found for index in (value if isinstance(value, list) else [value])]
    return list(dict.fromkeys(index for index in flat if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < rows))
