"""Scores of answers to whole documents, each task's over those that it reads: for `lmkit evaluate`, and for evaluations in training."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import isnan
from typing import Any, NamedTuple

import numpy as np

from lmkit.data.cache import Cache
from lmkit.data.document import Document
from lmkit.data.documents import Documents, all_documents, hold_out
from lmkit.data.held import held_documents
from lmkit.data.sources import read
from lmkit.data.spec import AnySource, Data, Holdout
from lmkit.errors import DataError, Problem
from lmkit.inference.answers import Answer, readers
from lmkit.inference.gold import pairing, right
from lmkit.inference.opened import OpenedModel
from lmkit.scores.figure import Figure
from lmkit.tasks.scores import Pair, scores_of
from lmkit.tasks.spec import AnyTask
from lmkit.training.evaluate import Stopped

CHUNK = 512  # documents that are answered at once

Hear = Callable[[Sequence[Document], Sequence[Mapping[str, Any]]], None]
Stop = Callable[[], bool]


class Part(NamedTuple):
    """Some documents, how many, and the tasks that are scored by their answers to them."""

    documents: Iterable[Document]
    size: int
    tasks: tuple[str, ...]


def parts_of(
    tasks: Mapping[str, AnyTask], data: Data, caches: Mapping[str, Cache], *, answers_alone: bool = False, stop: Stop = lambda: False
) -> list[Part]:  # fmt: skip
    """The validation documents of a run, part by part; with `answers_alone`, for tasks that are scored by nothing else."""

    def part(source: AnySource, held: Documents, name: str | None) -> Part:
        reading = {each: task for each, task in tasks.items() if name is None or task.data in (None, name)}
        readable = {each: task for each, task in reading.items() if not data.untold(task.roles)}
        roles = getattr(source, "columns", {})
        found = [each for each, task in readable.items() if task.scored(roles) and (task.by_answers or not answers_alone)]
        return Part(held_documents(read(source, stop=stop), held), len(held), tuple(found))

    validation = data.validation
    if validation is None:
        return []
    documents = {name: all_documents(name, cache) for name, cache in caches.items()}
    if isinstance(validation, Holdout):
        parts = [part(source, hold_out(documents[name], validation.holdout)[1], name) for name, source in data.train.items()]
    else:
        parts = [part(validation, documents["validation"], None)]
    return [each for each in parts if each.tasks]


def spread(parts: Sequence[Part], most: int) -> list[Part]:
    """At most `most` of their documents, at even distances."""
    total = sum(part.size for part in parts)
    wanted = set(np.unique(np.linspace(0, total - 1, min(most, total)).astype(int)).tolist())
    found, first = [], 0
    for part in parts:
        chosen = [document for number, document in enumerate(part.documents, first) if number in wanted]
        found.append(Part(chosen, len(chosen), part.tasks))
        first += part.size
    return found


class Scorer:
    """Scores a model by the answers of these tasks."""

    def __init__(self, opened: OpenedModel, tasks: Iterable[str]) -> None:
        self.tasks, self.labels = opened.tasks, opened.labels
        self.readers = readers(opened, tuple(dict.fromkeys(tasks)))

    def __call__(self, parts: Iterable[Part], *, rounds: int, stop: Stop, hear: Hear | None = None) -> dict[str, Figure]:
        """`{task}/{figure}` for each metric; `hear` gets the documents and, by task, their answers with what is right as `gold`.

        Raises DataError for a document that does not say what is right, or lacks what a task needs, Stopped when asked to stop.
        """
        pairs: dict[str, list[Pair]] = {name: [] for name in self.readers}
        for part in parts:
            for documents in _chunks(part.documents):
                answers: list[dict[str, Answer]] = [{} for _ in documents]
                for name in part.tasks:
                    if stop():
                        raise Stopped
                    pairs[name] += self._answered(name, documents, answers)
                if hear is not None:
                    hear(documents, answers)
        return {
            f"{name}/{figure}": value
            for name, found in pairs.items()
            for figure, value in scores_of(self.tasks[name], found, self.labels.get(name, ()), rounds=rounds).items()
        }

    def _answered(self, name: str, documents: Sequence[Document], answers: Sequence[dict[str, Answer]]) -> list[Pair]:
        task, reader = self.tasks[name], self.readers[name]
        for document in documents:
            if lacking := reader.lacks(document):
                raise DataError(Problem(lacking, f"tasks.{name}", document.where))
        gold = [right(name, task, self.labels.get(name, ()), document) for document in documents]
        found = reader.read(documents)
        for each, answer, said in zip(answers, found, gold, strict=True):
            each[name] = answer | {"gold": said}
        pair = pairing(task)
        return [pair(said, answer) for said, answer in zip(gold, found, strict=True)]


def answer_scores(opened: OpenedModel, caches: Mapping[str, Cache], most: int, stop: Stop) -> Callable[[Stop], dict[str, float]]:
    """For training: a function that gives the metrics that only answers tell, over `most` documents."""
    parts = spread(parts_of(opened.tasks, opened.data, caches, answers_alone=True, stop=stop), most) if most else []
    if not parts:
        return lambda stop: {}
    scorer = Scorer(opened, [name for part in parts for name in part.tasks])

    def score(stop: Stop) -> dict[str, float]:
        found = scorer(parts, rounds=0, stop=stop)
        return {name: figure.value for name, figure in found.items() if not isnan(figure.value)}

    return score


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    documents = iter(documents)
    while chunk := list(islice(documents, CHUNK)):
        yield chunk
