"""The door to the scores: from a task's words, and what was right and what was answered, to figures with their intervals."""

from collections.abc import Sequence
from typing import Any

from lmkit.layers.build import build_custom
from lmkit.scores.answers import question_answering
from lmkit.scores.classes import classification, multi_label
from lmkit.scores.custom import own_figure
from lmkit.scores.embeddings import retrieval, similarity
from lmkit.scores.figure import Figure
from lmkit.scores.names import RETRIEVAL, SIMILARITY
from lmkit.scores.numbers import regression
from lmkit.scores.tags import ENTITY_TAG, tagging
from lmkit.scores.texts import generation
from lmkit.tasks.spec import (
    AnyTask,
    Classification,
    MultipleChoice,
    QuestionAnswering,
    Regression,
    SentenceEmbedding,
    Seq2seq,
    TokenClassification,
)

Pair = tuple[Any, Any]  # what is right, and what was answered
BARE = ("accuracy", "f1_tags")  # figures of tags that spell no entities


def scores_of(task: AnyTask, pairs: Sequence[Pair], labels: Sequence[str] = (), *, rounds: int = 0) -> dict[str, Figure]:
    """The task's metrics; nothing for a task that has none. `rounds` resamples give each its interval. Raises SpecError where a metric
    of the user's own gives no number.

    By kind a pair is: two labels; two sets of labels; two places of choices; two numbers; two lists of tags; (right answers,
    (answer, probability of none)); (right texts, text); (value or None, (vector, vector)).
    """
    right, given = [one for one, _ in pairs], [other for _, other in pairs]
    own = {each.figure: build_custom(each, name=each.figure, labels=tuple(labels)) for each in task.own}
    found = _named(task, right, given, labels, rounds)
    return found | {name: own_figure(metric, right, given, rounds=rounds) for name, metric in own.items()}


def _named(task: AnyTask, right: Sequence[Any], given: Sequence[Any], labels: Sequence[str], rounds: int) -> dict[str, Figure]:
    match task:
        case Classification(multi_label=True):
            return multi_label(right, given, labels, task.named, rounds=rounds)
        case Classification():
            return classification(right, given, labels, task.named, rounds=rounds)
        case MultipleChoice():
            places = sorted({*right, *given})
            return classification(right, given, places, task.metrics, rounds=rounds)
        case Regression():
            return regression(right, given, task.named, rounds=rounds)
        case TokenClassification():
            return tagging(right, given, tag_metrics(task, labels), rounds=rounds)
        case QuestionAnswering():
            return question_answering(right, [text for text, _ in given], [none for _, none in given], task.named, rounds=rounds)
        case Seq2seq():
            return generation(given, right, task.named, tokenize=task.bleu_tokenizer, rounds=rounds)
        case SentenceEmbedding():
            return _of_vectors(task, right, [one for one, _ in given], [other for _, other in given], rounds)
        case _:
            return {}


def tag_metrics(task: TokenClassification, labels: Sequence[str]) -> tuple[str, ...]:
    """Those of entities only where the labels are tags of such."""
    entities = all(ENTITY_TAG.fullmatch(label) for label in labels)
    return tuple(name for name in task.named if entities or name in BARE)


def _of_vectors(
    task: SentenceEmbedding, values: Sequence[Any], first: Sequence[Any], second: Sequence[Any], rounds: int
) -> dict[str, Figure]:  # fmt: skip
    roles = ("text_pair", "value") if values and None not in values else ("text_pair",)
    names = task.scored(roles)
    found = retrieval(first, second, [name for name in names if name in RETRIEVAL], rounds=rounds)  # type: ignore[arg-type]
    return found | similarity(first, second, values, [name for name in names if name in SIMILARITY], rounds=rounds)  # type: ignore[arg-type]
