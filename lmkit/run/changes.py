"""What a run and the spec that it is started with again differ in, key by key, and which of it a run may take."""

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from lmkit.data.spec import LONE, PATH_KEYS
from lmkit.errors import CheckpointError, Problem, SpecError
from lmkit.spec_file.plain_yaml import text_of

GROWING = ("training.steps", "training.tokens", "training.epochs")
# They say what is answered and how it is scored, not what is learned.
ANSWERED = r"threshold|no_answer_threshold|n_best|max_answer_length|decode(\..*)?|windows\.pool|metrics|bleu_tokenizer"
# Where these lie says nothing of what is in them, and that is compared by itself.
PLACES = re.compile(rf"data\.(train\.[^.]+|validation)\.({'|'.join(PATH_KEYS)})|tokenizer\.from")
FREE = re.compile(
    rf"(logging|runtime)\..*|training\.(save_every|keep|evaluate_every|evaluate_documents|non_finite|loss_spikes)(\..*)?|tasks\.[^.]+\.({ANSWERED})"
)
Parse = Callable[[str], Any]


def allowed_changes(path: Path, new: Any, parse: Parse, derived: Collection[str] = ()) -> list[str]:
    """The differences to the stored spec, one line each, when all of them are harmless; SpecError otherwise.

    Keys that are `derived` follow from others, and are named only where nothing else differs.
    """
    try:
        old = parse((path / "resolved.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(Problem(f"cannot be read: {error}", where=str(path / "resolved.yaml"))) from None
    before, after = dict(flat(old)), dict(flat(new))
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    refused = [key for key in changed if not _is_free(key, before.get(key), after.get(key))]
    if refused:
        named = [key for key in refused if key not in derived] or refused
        lines = [Problem(_difference(before, after, key), key) for key in named]
        way = "the run was begun with another spec; give this one another name or --run-dir, or set the run aside with --from-scratch"
        raise SpecError(*lines, Problem(way, where=str(path)))
    return [f"{key.replace(f'data.train.{LONE}.', 'data.train.')}: {_difference(before, after, key)}" for key in changed]


def _is_free(key: str, before: Any, after: Any) -> bool:
    if key in GROWING:
        return all(isinstance(value, int | float) for value in (before, after)) and after > before
    if PLACES.fullmatch(key):
        return None not in (before, after)
    if key == "model.from":
        return None not in (before, after) and not os.path.exists(before)  # it was moved
    if key.endswith(".class"):  # beside it stands the checksum of its file
        return str(before).rpartition(":")[2] == str(after).rpartition(":")[2]
    return FREE.fullmatch(key) is not None


def _difference(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> str:
    old, new = before.get(key), after.get(key)
    shorter = key in GROWING and None not in (old, new) and not _is_free(key, old, new)
    return f"{_shown(old)} -> {_shown(new)}{'; a run may be made longer, never shorter' if shorter else ''}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else text_of(value)


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": 1}}` -> `("a.b", 1)`; a list stays whole unless all its items are mappings."""
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        value = dict(enumerate(value))
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
