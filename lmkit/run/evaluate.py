"""`lmkit evaluate`: a trained run's figures on its validation rows, or on another file of the same kind."""

import json
from pathlib import Path

from lmkit.data.build import evaluation_batches
from lmkit.data.cache import open_cache
from lmkit.data.spec import AnySource, Data, Holdout
from lmkit.errors import DataError, Problem
from lmkit.run.console import Console
from lmkit.run.given import source_like
from lmkit.run.material import CACHE, material
from lmkit.run.signals import watch
from lmkit.run.source import existing


def evaluate(run: Path, *, data: Path | None, as_json: bool, console: Console, allow_code: bool = False) -> int:
    """Prints every figure of every task, as a table or as JSON."""
    existing(run)
    with console.quiet():
        from lmkit.engine import tensorflow as engine
        from lmkit.run.evaluator import evaluator
        from lmkit.run.open import open_trained

    opened = open_trained(run, console, allow_code=allow_code)
    spec, tokenizer = opened.spec, opened.tokenizer
    with watch(console.err, saves=False) as stop:
        cache = run.parent / CACHE
        stuff = material(spec, tokenizer=tokenizer, cache=cache, say=console.err, stop=stop)
        batches = stuff.batches.validation
        if data is not None:
            source = _like(spec.data, data)
            other = open_cache(source, tokenizer, directory=cache, needs_sentences=stuff.needs_sentences, warn=console.err, stop=stop)
            batches = evaluation_batches(
                spec.data,
                spec.tasks,
                tokenizer,
                {"validation": other},
                labels=opened.labels,
                buckets=stuff.batches.buckets,
                batch_size=spec.training.batch_size,
            )
        if not len(batches):
            raise DataError(Problem("the run has no data.validation; name a file with --data", where=str(run)))
        figures = evaluator(spec, opened.model, batches, tokenizer, opened.labels, engine.replicas("one_device"), xla=False)(stop)
    if as_json:
        console.out(json.dumps({"run": str(run), "step": opened.step, "figures": figures}, ensure_ascii=False))
        return 0
    console.out(f"{run} at step {opened.step}, {'data.validation' if data is None else data}")
    width = max(map(len, figures))
    for name, value in figures.items():
        console.out(f"{name:<{width}}  {value:.4f}")
    return 0


def _like(data: Data, path: Path) -> AnySource:
    """A source that reads `path` as the run reads its validation data, or else its first training source."""
    validation = data.validation
    return source_like(next(iter(data.train.values())) if validation is None or isinstance(validation, Holdout) else validation, path)
