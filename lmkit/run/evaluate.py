"""`lmkit evaluate`: a trained run's figures on its validation rows, or on another file of the same kind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lmkit.data.batches import Evaluation
from lmkit.data.build import evaluation_batches
from lmkit.data.cache import open_cache
from lmkit.data.spec import AnySource, Data, Holdout
from lmkit.errors import DataError, Problem, SpecError
from lmkit.run.console import Console
from lmkit.run.given import source_like, source_of
from lmkit.run.material import CACHE, RUNS, material, prefix_of, start_of
from lmkit.run.signals import watch
from lmkit.run.source import existing, is_foreign
from lmkit.run.spec import RunSpec
from lmkit.tasks.spec import NextSentence, Trainable

if TYPE_CHECKING:
    from lmkit.run.open import OpenedRun


def evaluate(run: Path, *, data: Path | None, as_json: bool, console: Console, allow_code: bool = False) -> int:
    """Prints every figure of every task, as a table or as JSON."""
    existing(run)
    with console.quiet():
        from lmkit.engine import tensorflow as engine
        from lmkit.run.evaluator import evaluator
        from lmkit.run.open import open_trained
        from lmkit.run.reference import Referred, as_it_began
        from lmkit.training.step import EvaluationStep

    opened = open_trained(run, console, allow_code=allow_code)
    spec = on_file(opened.spec, data, run) if opened.spec.imported else opened.spec
    with watch(console.err, saves=False) as stop:
        batches = _batches(opened, spec, data, (RUNS if is_foreign(run) else run.parent) / CACHE, console, stop)
        if not len(batches):
            raise DataError(Problem("the run has no data.validation; name a file with --data", where=str(run)))
        replicas = engine.replicas("one_device")
        asked = EvaluationStep(opened.model, replicas)
        given = Referred(batches, as_it_began(opened, batches, asked, own=data is None, say=console.err, stop=stop))
        figures = evaluator(spec, opened.model, given, opened.tokenizer, opened.labels, replicas, xla=False)(stop)
    if as_json:
        console.out(json.dumps({"run": str(run), "step": opened.step, "figures": figures}, ensure_ascii=False))
        return 0
    console.out(f"{run} at step {opened.step}, {'data.validation' if data is None else data}")
    width = max(map(len, figures))
    for name, value in figures.items():
        console.out(f"{name:<{width}}  {value:.4f}")
    return 0


def _batches(
    opened: "OpenedRun", spec: RunSpec, data: Path | None, cache: Path, console: Console, stop: Callable[[], bool]
) -> Evaluation:  # fmt: skip
    """The run's validation rows, or those of a file; an imported model has no rows of its own to make the lengths fit."""
    tokenizer = opened.tokenizer
    if opened.spec.imported:
        source, buckets = spec.data.train["train"], lengths(spec.data.max_length)
    else:
        stuff = material(spec, tokenizer=tokenizer, cache=cache, say=console.err, stop=stop)
        if data is None:
            return stuff.batches.validation
        source, buckets = _like(spec.data, data), stuff.batches.buckets
    sentences = any(isinstance(task, NextSentence) for task in spec.tasks.values())
    rows = open_cache(
        source, tokenizer, directory=cache, needs_sentences=sentences, prefix=prefix_of(spec, "validation"), warn=console.err, stop=stop
    )
    size = spec.training.batch_size
    given = {"labels": opened.labels, "buckets": buckets, "batch_size": size, "start": start_of(spec)}
    return evaluation_batches(spec.data, spec.tasks, tokenizer, {"validation": rows}, **given)  # type: ignore[arg-type]


def lengths(longest: int) -> tuple[int, ...]:
    """Powers of two up to the longest row."""
    return (*(n for n in (2**i for i in range(4, 32)) if n < longest), longest)


def on_file(spec: RunSpec, path: Path | None, run: Path) -> RunSpec:
    """The words of an imported model, which brings no text, as if it had been trained on that file by the tasks that can be."""
    if path is None:
        raise DataError(Problem("the model was imported and brings no text; name a file with --data", where=str(run)))
    tasks = {name: task for name, task in spec.tasks.items() if isinstance(task, Trainable)}
    if not tasks:
        kinds = ", ".join(task.kind for task in spec.tasks.values())
        raise SpecError(Problem(f"no data can evaluate {kinds} yet", "tasks", str(run)))
    roles = dict.fromkeys(role for task in tasks.values() for role in task.roles)
    columns = [{"text": "text", "text_pair": "text_pair"}, {"text": "text"}]
    source = source_of(path, [each | {role: role for role in roles} for each in columns] if roles else columns[1:])
    whole = not roles and not any(isinstance(task, NextSentence) for task in tasks.values())
    return spec.model_copy(update={"tasks": tasks, "data": spec.data.model_copy(update={"train": {"train": source}, "packing": whole})})


def _like(data: Data, path: Path) -> AnySource:
    """A source that reads `path` as the run reads its validation data, or else its first training source."""
    validation = data.validation
    return source_like(next(iter(data.train.values())) if validation is None or isinstance(validation, Holdout) else validation, path)
