"""`lmkit evaluate`: a trained run's figures on its validation rows, or on another file of the same kind."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmkit.data.batches import Batch, Evaluation
from lmkit.data.build import evaluation_batches
from lmkit.data.cache import Cache, open_cache
from lmkit.data.document import Document
from lmkit.data.spec import Holdout
from lmkit.errors import DataError, Problem, SpecError
from lmkit.run import table
from lmkit.run.columns import Columns
from lmkit.run.console import Console
from lmkit.run.material import CACHE, RUNS, fingerprints, material, prefix_of, start_of
from lmkit.run.on_file import lengths, on_file
from lmkit.run.output import require_writable, texts_of, whole_file
from lmkit.run.signals import watch
from lmkit.run.source import existing, is_foreign
from lmkit.scores.figure import ROUNDS, Figure
from lmkit.scores.preferences import preferences
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.spec import DirectPreference, Reward, TwoSegments

if TYPE_CHECKING:
    from lmkit.inference.scoring import Part
    from lmkit.run.open import OpenedRun

Stop = Callable[[], bool]


def evaluate(
    run: Path,
    *,
    data: Path | None,
    columns: Columns,
    tasks: Sequence[str],
    predictions: Path | None,
    as_json: bool,
    console: Console,
    allow_code: bool = False,
    dtype: str = "float32",
    separator: str = "",
) -> int:
    """Prints every figure of every task, as a table or as JSON: losses over rows, and scores of answers with their intervals.

    `columns` say which fields of `data` hold what, and `separator` what stands between labels, where the run does not say so; `tasks`
    are evaluated, or all. `predictions` is a file for what was answered, beside what is right. Raises SpecError for such a file where
    no task is scored by answers.
    """
    existing(run)
    if predictions is not None:
        require_writable(predictions, data, "--predictions")
    with console.quiet():
        from lmkit.inference.scoring import parts_of
        from lmkit.run.open import open_trained

    opened = open_trained(run, console, allow_code=allow_code, dtype=dtype)
    spec = on_file(opened.spec, data, columns, run, tasks, separator)
    with watch(console.err, saves=False) as stop:
        batches, caches = _batches(opened, spec, data is None, (RUNS if is_foreign(run) else run.parent) / CACHE, console, stop)
        if not len(batches):
            raise DataError(Problem("the run has no data.validation; name a file with --data", where=str(run)))
        parts = parts_of(spec.tasks, spec.data, caches, stop=stop)
        if predictions is not None and not parts:
            kinds = ", ".join(f"{name} ({task.kind})" for name, task in spec.tasks.items())
            what = f"no task here is scored by answers: {kinds}; leave it out"
            if any(isinstance(task, DirectPreference | Reward) for task in spec.tasks.values()):
                what += ", or write rewards and margins by lmkit predict --input"
            raise SpecError(Problem(what, "--predictions", "command line"))
        found = _of_rows(opened, spec, batches, caches, console, stop) | _of_answers(opened, parts, predictions, stop)
    if as_json:
        console.out(table.as_json(found, run=str(run), step=opened.step))
        return 0
    console.out(f"{run} at step {opened.step}, {'data.validation' if data is None else data}")
    for line in table.lines(found):
        console.out(line)
    return 0


def _of_rows(
    opened: "OpenedRun", spec: RunSpec, batches: Evaluation, caches: Mapping[str, Cache], console: Console, stop: Stop
) -> dict[str, Figure]:  # fmt: skip
    """What the rows of the batches tell; of preferences, against the model as it began."""
    from lmkit.engine import tensorflow as engine
    from lmkit.run.reference import Referred, as_it_began
    from lmkit.training.evaluator import evaluator
    from lmkit.training.step import EvaluationStep

    replicas = engine.replicas("one_device")
    data = fingerprints(caches, opened.tokenizer)
    began = as_it_began(opened, batches, EvaluationStep(opened.model, replicas), data=data, say=console.err, stop=stop)
    margins: dict[str, list[float]] = {name: [] for name, task in spec.tasks.items() if isinstance(task, DirectPreference | Reward)}

    def hear(batch: Batch, rows: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        for name in margins.keys() & rows.keys():
            margins[name] += rows[name]["predicted"][batch[f"{name}/weights"] > 0].tolist()

    measure = evaluator(spec.tasks, opened.model, Referred(batches, began), opened.tokenizer, opened.labels, replicas, xla=False)
    figures = measure(stop, hear)
    engine.finite(figures.get("loss", 0.0))
    preferred = {name: preferences(found, rounds=ROUNDS) for name, found in margins.items() if found}
    return {name: Figure(value) for name, value in figures.items()} | {
        f"{name}/{figure}": value for name, found in preferred.items() for figure, value in found.items()
    }


def _of_answers(opened: "OpenedRun", parts: Sequence["Part"], predictions: Path | None, stop: Stop) -> dict[str, Figure]:
    """What answers to whole documents are worth; they are written to a file where one is named."""
    from lmkit.inference.scoring import Scorer

    if not parts:
        return {}
    scorer = Scorer(opened.answering, [name for part in parts for name in part.tasks])
    with nullcontext() if predictions is None else whole_file(predictions) as write:

        def hear(documents: Sequence[Document], answers: Sequence[Mapping[str, Any]]) -> None:
            for document, given in zip(documents, answers, strict=True):
                if write is not None:
                    write(({"id": document.id} if document.id else {}) | texts_of(document) | dict(given))

        return scorer(parts, rounds=ROUNDS, stop=stop, hear=hear)


def _batches(
    opened: "OpenedRun", spec: RunSpec, own: bool, cache: Path, console: Console, stop: Stop
) -> tuple[Evaluation, Mapping[str, Cache]]:  # fmt: skip
    """The run's validation rows, or those of a file, in lengths that fit any: the training data need not be there for it."""
    tokenizer = opened.tokenizer
    if own:
        stuff = material(opened.spec, tokenizer=tokenizer, cache=cache, say=console.err, stop=stop)
        return stuff.batches.validation, stuff.caches
    validation = spec.data.validation
    assert validation is not None and not isinstance(validation, Holdout)
    sentences = any(isinstance(task, TwoSegments) for task in spec.tasks.values())
    rows = open_cache(
        validation, tokenizer, directory=cache, needs_sentences=sentences, prefix=prefix_of(spec, "validation"), warn=console.err, stop=stop
    )
    size = spec.training.batch_size
    given = {"labels": opened.labels, "buckets": lengths(spec.data.max_length), "batch_size": size, "start": start_of(spec)}
    caches = {"validation": rows}
    return evaluation_batches(spec.data, spec.tasks, tokenizer, caches, **given), caches  # type: ignore[arg-type]
