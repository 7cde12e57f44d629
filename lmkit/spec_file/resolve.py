"""Derived defaults: what the user left open is filled in by the rules below, each with the sentence that explains it."""

import os
from collections.abc import Iterator
from typing import Any

from lmkit.data.spec import Data, Holdout
from lmkit.errors import LmkitError
from lmkit.models.derive import S, derived, resolved
from lmkit.models.spec import SHARED, SIDES, Body, EncoderDecoder, FromRun
from lmkit.spec import Amount, Spec
from lmkit.spec_file.spec import RunSpec
from lmkit.spec_file.tree import Path, dotted
from lmkit.tasks.spec import AnyTask, CausalLm, MaskedLm, MultipleChoice, Pooled, ReplacedToken, SentenceEmbedding, Seq2seq, TwoSegments
from lmkit.text.roles import TRAINED
from lmkit.text.spec import FromFile
from lmkit.training.spec import Training

Rules = dict[Path, str]  # where a value was filled in -> why it is that


def resolve(spec: RunSpec, *, absolute: bool = True) -> tuple[RunSpec, Rules]:
    """The spec with nothing left open that its own words decide, and the rule behind each value filled in.

    Left open: the words of a model that comes `from` a run and the shapes of new heads on it (they are in that run),
    `evaluate_every` without validation data, and `save_every`, whose default is two conditions at once. Paths become absolute,
    `~` the home, unless `absolute` is false.
    """
    rules: Rules = {}
    changes: dict[str, Any] = {
        "data": _data(spec, rules, absolute),
        "training": _training(spec, rules),
        "model": _from_run(spec.model, absolute) if isinstance(spec.model, FromRun) else _body(spec.model, spec, rules),
    }
    changes["tasks"] = {name: _task(task, ("tasks", name), spec, rules) for name, task in spec.tasks.items()}
    if isinstance(spec.tokenizer, FromFile) and absolute:
        changes["tokenizer"] = spec.tokenizer.model_copy(update={"from_": _absolute(spec.tokenizer.from_)})
    return spec.model_copy(update=changes), rules


def _filled(branch: Any, path: Path, rules: Rules, **defaults: tuple[Any, str]) -> Any:
    """A copy whose keys that are None take these values; each is given with its reason."""
    changes = {}
    for key, (value, why) in defaults.items():
        if getattr(branch, key) is None:
            changes[key] = value
            rules[(*path, key)] = why
    return branch.model_copy(update=changes)


def _body(model: Body, spec: RunSpec, rules: Rules) -> Body:
    if not isinstance(model, EncoderDecoder):
        return _stack(model, ("model",), spec, rules, pairs=sends_pairs(spec))
    both: EncoderDecoder = _filled(model, ("model",), rules, start_id=_start(spec))
    sides: dict[str, Any] = {}
    for name in SIDES:
        own, path = getattr(both, name), ("model", name)
        written = set(leaves_of(own.model_dump(mode="json", exclude_unset=True)))
        shared = [leaf for leaf in leaves_of(words_of(both.side(name))) if leaf not in written and leaf[0] in SHARED]
        rules.update({(*path, *leaf): f"model.{dotted(leaf)}" for leaf in shared})
        stack = _stack(both.side(name), path, spec, rules, pairs=sends_pairs(spec) and name == "encoder")
        sides[name] = own.model_copy(update={key: getattr(stack, key) for key in SHARED})
    return both.model_copy(update=sides)


def _start(spec: RunSpec) -> tuple[int | None, str]:
    """What a decoder beside an encoder begins with, unless the spec says so; None where the tokenizer's file cannot be read."""
    if isinstance(spec.tokenizer, FromFile):
        from lmkit.text.build import load_tokenizer  # and numpy, which no other spec needs

        try:
            tokenizer = load_tokenizer(spec.tokenizer.from_)
        except LmkitError:
            return None, "the tokenizer's bos, else its pad"
        return (tokenizer.bos, "the tokenizer's bos") if tokenizer.bos >= 0 else (tokenizer.pad, "the tokenizer's pad: it has no bos")
    return TRAINED.index("bos"), "the tokenizer's bos"


def leaves_of(words: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all scalars and lists in plain words."""
    if isinstance(words, dict):
        for key, value in words.items():
            yield from leaves_of(value, (*path, key))
        return
    yield path
    for i, value in enumerate(words if isinstance(words, list) else ()):
        yield from leaves_of(value, (*path, i))


def _stack(model: S, path: Path, spec: RunSpec, rules: Rules, *, pairs: bool) -> S:
    length = spec.data.max_length
    for key, (_, why) in derived(model, max_length=length, pairs=pairs).items():
        rules[(*path, *(int(part) if part.isdigit() else part for part in key.split(".")))] = why
    for i, window in enumerate(model.attention.window):
        if isinstance(window, int) and window >= length:
            rules[(*path, "attention", "window", i)] = f"{window} reaches over all of data.max_length = {length}: the same as full"
    return resolved(model, max_length=length, pairs=pairs)


def _task(task: AnyTask, path: Path, spec: RunSpec, rules: Rules) -> AnyTask:
    if isinstance(task, SentenceEmbedding) and task.loss != "cosine":
        return _filled(task, path, rules, negatives=(spec.training.batch_size, "training.batch_size"))  # type: ignore[no-any-return]
    if not isinstance(task, Pooled) or not task.pools or isinstance(spec.model, FromRun):
        return task
    pooler = task.pooler_activation or "none"
    return _filled(task, path, rules, pooler=(pooler, "tanh for pooling first, else none"))  # type: ignore[no-any-return]


def sends_pairs(spec: RunSpec) -> bool:
    """Whether a task reads two texts at a time."""
    for task in spec.tasks.values():
        if isinstance(task, TwoSegments | MultipleChoice):
            return True
        read = [source for name, source in spec.data.train.items() if task.data in (None, name)]
        if isinstance(task, Pooled) and any("text_pair" in getattr(source, "columns", {}) for source in read):
            return True
    return False


def _training(spec: RunSpec, rules: Rules) -> Training:
    training = spec.training
    if spec.data.validation is None:
        rules[("training", "evaluate_every")] = "never, without data.validation"
        return training
    if training.steps is not None:
        every, why = Amount(value=float(max(1, training.steps // 10)), unit="steps"), "ten times over the run"
    elif training.epochs is not None:
        every, why = Amount(value=training.epochs / 10, unit="epochs"), "ten times over the run"
    else:
        steps = (training.tokens or 0) // (training.batch_size * spec.data.max_length)
        every = Amount(value=float(max(1, steps // 10)), unit="steps")
        why = f"ten times over the run of about {steps:,} steps of batch_size x max_length tokens"
    return _filled(training, ("training",), rules, evaluate_every=(every, why))  # type: ignore[no-any-return]


def _data(spec: RunSpec, rules: Rules, absolute: bool) -> Data:
    whole = all(isinstance(task, CausalLm | MaskedLm | ReplacedToken) for task in spec.tasks.values())
    why = "only causal_lm and masked_lm read documents that can share a row" if whole else "a task needs each row for one example"
    data = _filled(spec.data, ("data",), rules, packing=(whole, why))
    if any(isinstance(task, Seq2seq) for task in spec.tasks.values()):
        data = _filled(data, ("data",), rules, max_target_length=(data.max_length, "data.max_length"))
    if not absolute:
        return data  # type: ignore[no-any-return]
    changes: dict[str, Any] = {"train": {name: source.with_paths(_absolute) for name, source in data.train.items()}}
    if data.validation is not None and not isinstance(data.validation, Holdout):
        changes["validation"] = data.validation.with_paths(_absolute)
    return data.model_copy(update=changes)  # type: ignore[no-any-return]


def _from_run(model: FromRun, absolute: bool) -> FromRun:
    return model.model_copy(update={"from_": _absolute(model.from_)}) if absolute else model


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def words_of(spec: Spec) -> dict[str, Any]:
    """The spec as plain mappings, lists and scalars that a spec file may hold; keys left at nothing are left out."""
    found: dict[str, Any] = {}
    for name, field in sorted(type(spec).model_fields.items(), key=lambda item: item[0] != "kind"):
        value = getattr(spec, name)
        if value is not None or field.default is not None:
            found[field.alias or name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Amount):
        return str(value)
    if isinstance(value, Spec):
        return words_of(value)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value
