"""What the texts that a model writes are worth while it is trained: a few validation rows, written and scored at each evaluation."""

from collections.abc import Callable, Sequence

import numpy as np

from lmkit.data.batches import Batch, Evaluation
from lmkit.heads.model import Model
from lmkit.run.spec import RunSpec
from lmkit.run.writing import Writer
from lmkit.scores.texts import generation
from lmkit.tasks.spec import Seq2seq
from lmkit.text.tokenizer import Tokenizer
from lmkit.training.evaluate import Stopped

Pair = tuple[list[int], str]  # what is read, and what is to be written


def text_scores(spec: RunSpec, model: Model, tokenizer: Tokenizer, batches: Evaluation) -> Callable[[Callable[[], bool]], dict[str, float]]:
    """A function that gives the `metrics` of each task that has `scored_texts`, over so many rows spread evenly over the validation rows.

    References are what the tokenizer keeps of the first right text of a row, cut as the row is. Raises Stopped when asked to stop.
    """
    tasks = {name: task for name, task in spec.tasks.items() if isinstance(task, Seq2seq) and task.scored_texts}
    writers = {name: Writer(spec, model, tokenizer, name) for name in tasks}
    pairs = {name: _spread(_pairs(batches, name, tokenizer), task.scored_texts) for name, task in tasks.items()}

    def score(stop: Callable[[], bool]) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, task in tasks.items():
            if stop():
                raise Stopped
            written = writers[name].write([read for read, _ in pairs[name]])
            figures = generation(written, [[right] for _, right in pairs[name]], task.metrics, tokenize=task.bleu_tokenizer)
            found |= {f"{name}/{metric}": figure.value for metric, figure in figures.items()}
        return found

    return score


def _pairs(batches: Sequence[Batch], name: str, tokenizer: Tokenizer) -> list[Pair]:
    found: list[Pair] = []
    for batch in batches:
        if f"{name}/labels" not in batch:
            continue
        for row in np.flatnonzero(batch["segments"].any(axis=1)):
            labels = batch[f"{name}/labels"][row][batch[f"{name}/weights"][row] > 0]
            found.append((batch["tokens"][row][batch["segments"][row] > 0].tolist(), tokenizer.decode(labels).strip()))
    return found


def _spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most `count` of them, at even distances: they come by length."""
    return [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int))]
