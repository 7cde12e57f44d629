"""Which family can say what a model is: the one whose config, read again, gives the same words."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.heads import LABELLED
from lmkit.checkpoints.hub.known import FAMILIES
from lmkit.checkpoints.hub.words import Flat, flatten, nested
from lmkit.errors import CheckpointError, Problem
from lmkit.models.spec import Body
from lmkit.tasks.spec import Pooled, Task

FREE = ("dropout", "attention.dropout", "feed_forward.balance_weight", "output.train_bias")  # of training alone
TRANSFORM = ("output.transform_activation", "output.transform_bias", "output.transform_epsilon")
UNSAID = (  # words of a task, and of no class
    *("labels", "class_weights", "multi_label", "threshold", "dropout", "weight", "data", "metrics", "label_smoothing"),
    *("mask_rate", "whole_word", "truncate", "windows", "generator", "discriminator_weight"),
    *("loss", "negatives", "temperature", "symmetric", "values"),
    *("prefix", "separator", "decode", "bleu_tokenizer"),
    *("max_question_length", "stride", "max_answer_length", "n_best", "no_answer_threshold"),
)


@dataclass(frozen=True)
class Fit:
    """A family that fits, the class of its that does the tasks, and the config."""

    family: Family
    name: str
    flat: Flat
    config: dict[str, Any]


def fit(spec: Body, tasks: Mapping[str, Task], *, max_length: int, prefer: str = "", families: Sequence[Family] = FAMILIES) -> Fit:
    """The first family that can express the model, the preferred one before others.

    Raises CheckpointError naming the word that the nearest family cannot say, which is one that has the body, if there is any.
    """
    flat = flatten(spec, max_length=max_length)
    found: list[tuple[int, list[str]]] = []
    for family in sorted((one for one in families if not one.inside), key=lambda one: one.model_type != prefer):
        names, lacking = _classes_for(family, tasks)
        for name in names:
            config, of_body = _tried(family, name, flat, spec, max_length, unread(tasks))
            heads = family.classes.get(name, ())
            problems = of_body or lacking or [what for head in heads for what in _head_differences(head, tasks, name, config)]
            if not problems:
                return Fit(family, name, flat, config)
            found.append((len(of_body), problems))
    _, nearest = min(found, key=lambda one: (one[0], len(one[1])))
    raise CheckpointError(Problem(nearest[0], "model"))


def _tried(family: Family, name: str, flat: Flat, spec: Body, max_length: int, free: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """The family's config for the words of a model of that class, and what it does not say of them."""
    all_words = [f"{key}: cannot be read back" for key in flat]
    try:
        config = family.write(flat, max_length) | {"architectures": [name]}
        again = family.read(config)
        again.setdefault("tie_embeddings", flat["tie_embeddings"])
        if again["kind"] != flat["kind"]:
            return {}, [_unsaid("kind", flat["kind"], again["kind"], family.model_type), *all_words]
        said = flatten(type(spec).model_validate(nested(again)), max_length=max_length)
    except CheckpointError as error:
        return {}, [f"{family.model_type} cannot say it: {error.problems[0].what}", *all_words]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return {}, [f"it cannot be said by {family.model_type}", *all_words]
    return config, [_unsaid(key, flat.get(key), said.get(key), family.model_type) for key in differing(flat, said, free)]


def _unsaid(key: str, ours: Any, theirs: Any, name: str) -> str:
    """The first place inside a word that is not as a family or a class has it; layers count from 0: `attention.rotary.1.base`."""
    for part, one, other in _parts(ours, theirs):
        if one != other:
            return _unsaid(f"{key}.{part}", one, other, name)
    return f"{key}: {_shown(ours)} cannot be said by {name}, the nearest, which has {_shown(theirs)}"


def _parts(ours: Any, theirs: Any) -> Iterator[tuple[Any, Any, Any]]:
    """What two words have inside, side by side; a single value is that of all layers."""
    if isinstance(ours, tuple) or isinstance(theirs, tuple):
        length = max(len(value) for value in (ours, theirs) if isinstance(value, tuple))
        each = (value if isinstance(value, tuple) else (value,) * length for value in (ours, theirs))
        yield from ((i, *pair) for i, pair in enumerate(zip_longest(*each)))
    elif isinstance(ours, Mapping) or isinstance(theirs, Mapping):
        one, other = (value if isinstance(value, Mapping) else dict[str, Any]() for value in (ours, theirs))
        yield from ((part, one.get(part), other.get(part)) for part in dict.fromkeys((*one, *other)))


def unread(tasks: Mapping[str, Task]) -> tuple[str, ...]:
    """The words of a model that no head of these tasks reads."""
    kinds = {task.kind for task in tasks.values()}  # type: ignore[attr-defined]
    return TRANSFORM if not kinds & {"masked_lm", "replaced_token"} else ()


def differing(flat: Flat, said: Flat, free: Collection[str] = ()) -> list[str]:
    """The words in which two models differ, dropout apart; real numbers may differ by rounding."""
    return [key for key in dict.fromkeys((*flat, *said)) if key not in (*FREE, *free) and not _same(flat.get(key), said.get(key))]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)


def _classes_for(family: Family, tasks: Mapping[str, Task]) -> tuple[list[str], list[str]]:
    """The classes with exactly the heads of the tasks; else the one without heads, and what is lacking."""
    said_by_classes = {head.kind for heads in family.classes.values() for head in heads}
    silent = {"sentence_embedding"} - said_by_classes
    kinds = sorted(task.kind for task in tasks.values() if task.kind not in silent)  # type: ignore[attr-defined]
    names = [name for name, heads in family.classes.items() if kinds and sorted(_kind(head, kinds) for head in heads) == kinds]
    if names or not kinds:
        return names or [family.bare], []
    said = ", ".join(f"{name} ({', '.join(head.kind for head in heads)})" for name, heads in family.classes.items())
    return [family.bare], [f"tasks: no class of {family.model_type} does {' and '.join(kinds)}; it has {said}"]


def _kind(head: Head, kinds: Collection[str]) -> str:
    """The kind of a head; one that classifies may give a number instead."""
    return "regression" if head.kind == "classification" and "regression" in kinds else head.kind


def _head_differences(head: Head, tasks: Mapping[str, Task], name: str, config: dict[str, Any]) -> Iterator[str]:
    """What a head of the class does not say of its task, whose words go into the config."""
    by_kind = {task.kind: task for task in tasks.values()}  # type: ignore[attr-defined]
    kind = _kind(head, by_kind)
    task = by_kind[kind]
    head.write(task.model_dump() | ({"pooler": task.pooler_activation or "none"} if isinstance(task, Pooled) else {}), config)
    try:
        words = head.read(config)
    except CheckpointError as error:
        yield f"tasks: cannot be said by {name}: {error.problems[0].what}"
        return
    said = type(task).model_validate({**words, "kind": kind, **({"labels": task.labels} if kind in LABELLED else {})})  # type: ignore[attr-defined]
    for key in type(task).model_fields:
        ours, theirs = (getattr(one, "pooler_activation" if key == "pooler" else key) for one in (task, said))
        if key not in UNSAID and ours != theirs:
            yield _unsaid(f"tasks.{key}", ours, theirs, name)


def _shown(value: Any) -> str:
    return "nothing" if value is None or value == {} else str(value).lower() if isinstance(value, bool) else str(value)[:80]
