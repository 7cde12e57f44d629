"""Which family can say what a model is: the one whose config, read again, gives the same words."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

    Raises CheckpointError naming the word that the nearest family cannot say.
    """
    flat = flatten(spec, max_length=max_length)
    nearest: list[str] = []
    for family in sorted(families, key=lambda one: one.model_type != prefer):
        if family.inside:
            continue
        config, problems = _tried(family, flat, spec, max_length, unread(tasks))
        name = ""
        if not problems:
            name, problems = _class_for(family, tasks, config)
        if not problems:
            return Fit(family, name, flat, config)
        if not nearest or len(problems) < len(nearest):
            nearest = problems
    raise CheckpointError(Problem(nearest[0], "model"))


def _tried(family: Family, flat: Flat, spec: Body, max_length: int, free: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """The family's config for the words, and what it does not say of them."""
    try:
        config = family.write(flat, max_length)
        again = family.read(config)
        again.setdefault("tie_embeddings", flat["tie_embeddings"])
        if again["kind"] != flat["kind"]:
            raise ValueError(f"kind: {flat['kind']} cannot be said by {family.model_type}, which is {again['kind']}")
        said = flatten(type(spec).model_validate(nested(again)), max_length=max_length)
    except (CheckpointError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        line = str(error).splitlines()[0][:120]
        what = line if line.startswith("kind: ") else f"{family.model_type} cannot say it: {line}"
        return {}, [what, *(f"{key}: cannot be read back" for key in flat)]
    other = [(key, _shown(flat.get(key)), _shown(said.get(key))) for key in differing(flat, said, free)]
    return config, [f"{key}: {ours} cannot be said by {family.model_type}, which has {theirs}" for key, ours, theirs in other]


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


def _class_for(family: Family, tasks: Mapping[str, Task], config: dict[str, Any]) -> tuple[str, list[str]]:
    """The class with exactly the heads of the tasks, whose words go into the config, or what stands in its way."""
    said_by_classes = {head.kind for heads in family.classes.values() for head in heads}
    silent = {"sentence_embedding"} - said_by_classes
    kinds = sorted(task.kind for task in tasks.values() if task.kind not in silent)  # type: ignore[attr-defined]
    if not kinds:
        return family.bare, []
    wrong: list[str] = []
    for name, heads in family.classes.items():
        if sorted(_kind(head, kinds) for head in heads) != kinds:
            continue
        tried = dict(config)
        wrong = [what for head in heads for what in _head_differences(head, _kind(head, kinds), tasks, name, tried)]
        if not wrong:
            config.update(tried)
            return name, []
    said = ", ".join(f"{name} ({', '.join(head.kind for head in heads)})" for name, heads in family.classes.items())
    return "", wrong or [f"tasks: no class of {family.model_type} does {' and '.join(kinds)}; it has {said}"]


def _kind(head: Head, kinds: list[str]) -> str:
    """The kind of a head; one that classifies may give a number instead."""
    return "regression" if head.kind == "classification" and "regression" in kinds else head.kind


def _head_differences(head: Head, kind: str, tasks: Mapping[str, Task], name: str, config: dict[str, Any]) -> Iterator[str]:
    task = next(task for task in tasks.values() if task.kind == kind)  # type: ignore[attr-defined]
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
            yield f"tasks.{key}: {_shown(ours)} cannot be said by {name}, which has {_shown(theirs)}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)[:80]
