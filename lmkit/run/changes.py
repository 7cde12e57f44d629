"""What a run and the spec that it is started with again differ in, key by key, and which of it a run may take."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lmkit.errors import CheckpointError, Problem, SpecError

GROWING = ("training.steps", "training.tokens", "training.epochs")
# They say what is answered and how it is scored, not what is learned.
ANSWERED = r"threshold|no_answer_threshold|n_best|max_answer_length|decode(\..*)?|windows\.pool|metrics|bleu_tokenizer"
FREE = re.compile(
    rf"(logging|runtime)\..*|training\.(save_every|keep|evaluate_every|evaluate_documents|non_finite|loss_spikes)(\..*)?|tasks\.[^.]+\.({ANSWERED})"
)
Parse = Callable[[str], Any]


def allowed_changes(path: Path, new: Any, parse: Parse) -> list[str]:
    """The differences to the stored spec, one line each, when all of them are harmless; SpecError otherwise."""
    try:
        old = parse((path / "resolved.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(Problem(f"cannot be read: {error}", where=str(path / "resolved.yaml"))) from None
    before, after = dict(flat(old)), dict(flat(new))
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    refused = [key for key in changed if not _is_free(key, before.get(key), after.get(key))]
    if refused:
        lines = [Problem(_difference(before, after, key), key, str(path)) for key in refused]
        way = "another spec than this run's; give it another name or --run-dir, or set the run aside with --from-scratch"
        raise SpecError(*lines, Problem(way, where=str(path)))
    return [f"{key}: {_shown(before, key)} -> {_shown(after, key)}" for key in changed]


def _is_free(key: str, before: Any, after: Any) -> bool:
    if key in GROWING:
        return all(isinstance(value, int | float) for value in (before, after)) and after > before
    return FREE.fullmatch(key) is not None


def _difference(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> str:
    both = before.get(key) is not None and after.get(key) is not None
    limit = "; a run may be made longer, never shorter" if key in GROWING and both else ""
    return f"the run has {_shown(before, key)}, the spec {_shown(after, key)}{limit}"


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False, default=str) if values.get(key) is not None else "nothing"


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": 1}}` -> `("a.b", 1)`; a list stays whole unless all its items are mappings."""
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        value = dict(enumerate(value))
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
