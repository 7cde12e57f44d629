"""What records say is right, beside what a model answers: the pairs that tasks/scores.py reads."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lmkit.data.document import Document
from lmkit.errors import DataError, Problem
from lmkit.inference.token_answers import OUTSIDE
from lmkit.tasks.classification import FOUND, unknown_label
from lmkit.tasks.scores import Pair
from lmkit.tasks.spec import (
    AnyTask,
    Classification,
    Labelled,
    MultipleChoice,
    QuestionAnswering,
    Regression,
    SentenceEmbedding,
    Seq2seq,
    TokenClassification,
)

Answer = dict[str, Any]


def right(name: str, task: AnyTask, labels: Sequence[str], document: Document) -> Any:
    """What a document says is right, in words that JSON knows.

    Raises DataError with the document's place where it says nothing, and for a label that is none of the task's.
    """
    found = _said(task, document)
    embeds = isinstance(task, SentenceEmbedding)
    if (document.pair if embeds else found) is None:
        what = f"the record has no {'text_pair' if embeds else task.roles[-1]} to score answers by"
        raise DataError(Problem(what, f"tasks.{name}", document.where))
    if not isinstance(task, Labelled):
        return found
    called = task.labels if isinstance(task.labels, dict) else {}

    def named(label: str) -> str:
        if problem := unknown_label(label, labels, called, key=f"tasks.{name}.labels", where=document.where, fix=FOUND):
            raise DataError(problem)
        return called.get(label, label)

    return named(found) if isinstance(found, str) else [named(label) for label in found]


def pairing(task: AnyTask) -> Callable[[Any, Answer], Pair]:
    """What is right and an answer, as `scores_of` reads them."""
    match task:
        case Classification(multi_label=True):
            return lambda gold, answer: (gold, answer["labels"])
        case Classification():
            return lambda gold, answer: (gold, answer["label"])
        case MultipleChoice():
            return lambda gold, answer: (str(gold), str(answer["place"]))
        case Regression():
            return lambda gold, answer: (gold, answer["value"])
        case TokenClassification():
            return lambda gold, answer: (gold, [word["label"] or OUTSIDE for word in answer["words"]])
        case QuestionAnswering():
            return lambda gold, answer: (gold, (answer["answer"], answer["no_answer"]))
        case Seq2seq():
            return lambda gold, answer: (gold, answer["text"])
        case SentenceEmbedding():
            return lambda gold, answer: (gold, tuple(np.asarray(answer[each], np.float32) for each in ("vector", "vector_pair")))
        case _:
            raise ValueError(f"no record says what is right for {task.kind}")


def _said(task: AnyTask, document: Document) -> Any:
    match task:
        case Classification(multi_label=True):
            return document.labels
        case Classification():
            return document.label
        case MultipleChoice():
            return None if document.label is None else int(document.label)
        case Regression() | SentenceEmbedding():
            return document.value
        case TokenClassification():
            return document.tags
        case QuestionAnswering():
            return None if document.answers is None else [text for _, text in document.answers]
        case Seq2seq():
            return document.target
        case _:
            raise ValueError(f"no record says what is right for {task.kind}")
