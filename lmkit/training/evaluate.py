"""Evaluation: every validation row once, sums on the host, figures by the tasks' own definitions."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from lmkit.errors import Interrupted
from lmkit.tasks import metrics
from lmkit.tasks.spec import AnyTask
from lmkit.training.hooks import Stop
from lmkit.training.step import Batch, EvaluationStep, tasks_in

Hear = Callable[[Batch, Mapping[str, Mapping[str, np.ndarray]]], None]


class Stopped(Interrupted):
    """Evaluation was left because somebody asked to stop; the loop saves and says more."""

    def __init__(self) -> None:
        super().__init__("stopped while evaluating; nothing is lost")


def evaluate(
    step: EvaluationStep,
    batches: Sequence[Batch],
    tasks: Mapping[str, AnyTask],
    *,
    label_counts: Mapping[str, int],
    labels: Mapping[str, Sequence[str]] = MappingProxyType({}),
    byte_length: np.ndarray | None = None,
    stop: Stop = lambda: False,
    hear: Hear = lambda batch, rows: None,
) -> dict[str, float]:
    """All figures of all tasks: `loss` (the weighted sum over tasks of mean losses), and `{task}/{figure}` for each task.

    `label_counts` gives the number of labels of each task (the vocabulary for language models), `labels` the names of those that
    have some, `byte_length` [V] the bytes of each token. A task that no batch has gives no figures. `hear` gets each batch with what
    the heads say of its rows. Raises Stopped between batches when asked to stop.
    """
    sums = {name: metrics.Sums(label_counts[name], kept=scored_by_rows(task)) for name, task in tasks.items()}
    for i in range(len(batches)):
        if stop():
            raise Stopped
        batch = batches[i]
        rows = step(batch)
        hear(batch, rows)
        for name in tasks_in(batch, list(tasks)):
            sums[name].add(batch[f"{name}/labels"], batch[f"{name}/weights"], rows[name])
    figures: dict[str, float] = {}
    seen = [name for name in tasks if sums[name].weight > 0]
    for name in seen:
        found = metrics.metrics(tasks[name], sums[name], labels.get(name, ()), byte_length=byte_length)
        figures |= {f"{name}/{figure}": value for figure, value in found.items()}
    if seen:
        figures = {"loss": sum(tasks[name].weight * figures[f"{name}/loss"] for name in seen)} | figures
    return figures


def scored_by_rows(task: AnyTask) -> bool:
    """Whether labels and predictions of single rows tell the task's metrics."""
    return bool(task.scored(())) and not task.by_answers
