"""The spec classes as a map of words: which keys a branch has, where else a key lives, what a key takes, and the nearest word."""

import typing
from collections.abc import Iterable, Iterator
from typing import Any

from lmkit.spec import Amount, Spec
from lmkit.spec_file.spec import RunSpec
from lmkit.spec_file.tree import CHOSEN_BY_KEY

# What other systems call a key.
SYNONYMS = {
    "lr": "learning_rate",
    "schedule": "learning_rate",
    "scheduler": "learning_rate",
    "lr_schedule": "learning_rate",
    "lr_scheduler": "learning_rate",
    "lr_scheduler_type": "learning_rate",
    "num_hidden_layers": "num_layers",
    "n_layer": "num_layers",
    "n_layers": "num_layers",
    "layers": "num_layers",
    "d_model": "hidden_size",
    "n_embd": "hidden_size",
    "embed_dim": "hidden_size",
    "hidden_dim": "hidden_size",
    "num_attention_heads": "num_heads",
    "n_head": "num_heads",
    "n_heads": "num_heads",
    "heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "d_ff": "intermediate_size",
    "ffn_dim": "intermediate_size",
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "seq_len": "max_length",
    "sequence_length": "max_length",
    "context_length": "max_length",
    "block_size": "max_length",
    "max_steps": "steps",
    "num_train_epochs": "epochs",
    "grad_accumulation_steps": "gradient_accumulation_steps",
    "gradient_clip": "clip_norm",
    "max_grad_norm": "clip_norm",
    "mlm_probability": "mask_rate",
    "eps": "epsilon",
    "layer_norm_eps": "epsilon",
    "theta": "base",
    "rope_theta": "base",
}


def branches(annotation: Any) -> list[type[Spec]]:
    """The spec classes that a key of this annotation may hold; an amount counts as a scalar."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [] if annotation is Amount else [annotation]
    return [cls for part in typing.get_args(annotation) for cls in branches(part)]


def holds_names(annotation: Any) -> bool:
    """Whether the key holds a mapping of names that the user chooses."""
    return typing.get_origin(annotation) is dict or any(holds_names(part) for part in typing.get_args(annotation))


def fields(cls: type[Spec]) -> dict[str, Any]:
    """Its keys, as they are written, and pydantic's facts about them."""
    return {field.alias or name: field for name, field in cls.model_fields.items()}


def tag(cls: type[Spec]) -> str:
    """What stands for the class in pydantic's error locations."""
    kind = cls.model_fields.get("kind")
    return str(kind.default) if kind is not None else f"<{next((f for f in fields(cls) if f in CHOSEN_BY_KEY), '')}>"


def walk(location: Iterable[str | int]) -> tuple[list[type[Spec]], Any]:
    """The classes reached by pydantic's error location, and the facts of the last key on the way (None after a name or index)."""
    here: list[type[Spec]] = [RunSpec]
    field = None
    named = False
    for part in location:
        if named:
            named, field = False, None
            continue
        found = [fields(cls)[part] for cls in here if part in fields(cls)] if isinstance(part, str) else []
        tagged = [cls for cls in here if tag(cls) == part]
        if tagged and len(here) > 1:
            here, field = tagged, None
        elif found:
            field = found[0]
            here = list(dict.fromkeys(cls for f in found for cls in branches(f.annotation)))
            named = bool(here) and holds_names(field.annotation)
    return here, field


def homes(key: str) -> list[str]:
    """The dotted sections, as a user writes them, in which a key is known."""
    return list(dict.fromkeys(section for section, cls in sections() if key in fields(cls)))


def sections() -> Iterator[tuple[str, type[Spec]]]:
    """Every section with every class it may hold, from the top down."""
    seen: set[tuple[str, type[Spec]]] = set()
    waiting: list[tuple[str, type[Spec]]] = [("", RunSpec)]
    while waiting:
        section, cls = waiting.pop(0)
        if (section, cls) in seen:
            continue
        seen.add((section, cls))
        yield section, cls
        for key, field in fields(cls).items():
            inside = ".".join(part for part in (section, key) if part)
            if holds_names(field.annotation) and key != "train":
                inside += ".<name>"
            waiting += [(inside, branch) for branch in branches(field.annotation)]


def bounds(annotation: Any, metadata: Iterable[Any] = ()) -> dict[str, float]:
    """The tightest `ge`, `gt`, `le`, `lt` anywhere in an annotation."""
    found: dict[str, float] = {}
    for item in metadata:
        for name, tightest in (("ge", max), ("gt", max), ("le", min), ("lt", min)):
            value = getattr(item, name, None)
            if value is not None:
                found[name] = tightest(found[name], value) if name in found else value
        for name, value in bounds(None, getattr(item, "metadata", ())).items():
            found.setdefault(name, value)
    for part in typing.get_args(annotation):
        for name, value in bounds(part, getattr(part, "__metadata__", ())).items():
            found.setdefault(name, value)
    return found


def range_text(found: dict[str, float]) -> str:
    """`{"ge": 0, "lt": 1}` -> `from 0 to below 1`."""
    bound = {name: str(int(value)) if float(value).is_integer() else f"{value:g}" for name, value in found.items()}
    low = f"from {bound['ge']}" if "ge" in bound else f"above {bound['gt']}" if "gt" in bound else ""
    high = f"to {bound['le']}" if "le" in bound else f"below {bound['lt']}" if "lt" in bound else ""
    if low and high:
        joint = " " if high.startswith("to") else " to " if "ge" in bound else " and "
        return f"{low}{joint}{high}"
    return f"of {bound['ge']} or more" if "ge" in bound else low or high


def distance(a: str, b: str) -> int:
    """Edits (insert, delete, replace, swap of neighbours) that lead from one word to the other."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        earlier, before, row = before, row, [i] + [0] * len(b)
        for j, y in enumerate(b, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], earlier[j - 2] + 1)
    return row[-1]


def nearest(word: str, choices: Iterable[str]) -> list[str]:
    """The choices that `word` is a likely slip of, best first, at most two equally near."""
    choices = list(choices)
    if SYNONYMS.get(word) in choices:
        return [SYNONYMS[word]]
    if len(word) > 60:
        return []
    lower = word.lower().replace("-", "_")
    scored = [(distance(lower, choice), choice) for choice in choices]
    best = min((d for d, _ in scored), default=99)
    if best > max(1, len(word) // 3):
        return [c for c in choices if len(lower) > 2 and (c.startswith(lower) or (lower.startswith(c) and len(c) > 2))][:2]
    return [choice for d, choice in scored if d == best][:2]
