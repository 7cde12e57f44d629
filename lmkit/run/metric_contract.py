"""What every metric of a user's own keeps, tried on made-up answers of the task's kind."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from lmkit.errors import Problem, SpecError
from lmkit.layers.build import build_custom
from lmkit.run.code import blame, first_line
from lmkit.scores.custom import Metric, own_figure
from lmkit.scores.spec import CustomMetric
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.scores import Pair
from lmkit.tasks.spec import AnyTask, Classification, Labelled, QuestionAnswering, Regression, SentenceEmbedding, Seq2seq

TIMES = 3  # so often the answers stand there
TOLERANCE = 1e-6

Make = Callable[[], Metric]


def a_metric_gives_one_number(make: Make, pairs: list[Pair]) -> Iterator[str]:
    first, second = (_value(make(), copy.deepcopy(pairs)) for _ in range(2))
    if first != second:
        yield f"{first:g}, and then {second:g} of the same answers"


def a_metric_does_not_depend_on_the_order_of_texts(make: Make, pairs: list[Pair]) -> Iterator[str]:
    straight, turned = (_value(make(), copy.deepcopy(each)) for each in (pairs, pairs[::-1]))
    if abs(straight - turned) > TOLERANCE * max(1, abs(straight)):
        yield f"{straight:g}, and {turned:g} the other way round"


def a_metric_leaves_answers_as_they_are(make: Make, pairs: list[Pair]) -> Iterator[str]:
    given = copy.deepcopy(pairs)
    _value(make(), given)
    if given != pairs:
        yield "they are others when it is done"


METRIC_CHECKS = (a_metric_gives_one_number, a_metric_does_not_depend_on_the_order_of_texts, a_metric_leaves_answers_as_they_are)


def metric_breaches(spec: RunSpec) -> Iterator[Problem]:
    """What is broken by the metrics of a spec, each under the sentence that it breaks; the code of the spec was run."""
    for name, task in spec.tasks.items():
        for word in task.own:
            yield from _tried(word, _labels(task), _pairs(task) * TIMES, name)


def _tried(word: CustomMetric, labels: tuple[str, ...], pairs: list[Pair], task: str) -> Iterator[Problem]:
    for check in METRIC_CHECKS:
        sentence = f"not so: {check.__name__.replace('_', ' ')}"
        try:
            for what in check(lambda: build_custom(word, name=word.figure, labels=labels), pairs):
                yield Problem(f"{sentence}: {what}", f"tasks.{task}.metrics", word.file)
        except SpecError as error:
            yield from (Problem(f"{sentence}: {problem.what}", f"tasks.{task}.metrics", word.file) for problem in error.problems)
            return
        except Exception as error:
            place, key = blame(error)
            yield Problem(f"{sentence}: {first_line(error)}", key or f"tasks.{task}.metrics", place or word.file)
            return


def _value(metric: Metric, pairs: list[Pair]) -> float:
    return own_figure(metric, [right for right, _ in pairs], [answered for _, answered in pairs]).value


def _labels(task: AnyTask) -> tuple[str, ...]:
    return (task.declared or ("A", "B", "C")) if isinstance(task, Labelled) else ()


def _pairs(task: AnyTask) -> list[Pair]:
    """Some of what `scores_of` gets for a task of this kind: right, wrong, and where a kind knows it, nothing."""
    first, second, *_ = (*_labels(task), "", "")
    found: dict[type, list[Any]] = {
        Regression: [(1.0, 1.5), (2.0, 1.0), (4.0, 3.0)],
        QuestionAnswering: [(["a fox", "the fox"], ("fox", 0.1)), (["two"], ("", 0.8)), ([], ("a dog", 0.4))],
        Seq2seq: [(["the cat sat", "a cat sat"], "the cat sat"), (["rain fell"], "sun shone"), (["we read"], "")],
        SentenceEmbedding: [(0.9, ([1.0, 0.0], [0.9, 0.1])), (0.1, ([0.0, 1.0], [1.0, 0.0]))],
    }
    if isinstance(task, Classification):
        sets = [([first], [first]), ([first, second], [second]), ([], [first])]
        return sets if task.multi_label else [(first, first), (first, second), (second, second)]
    tags = [([first, second], [first, first]), ([second], [second])]
    return next((pairs for kind, pairs in found.items() if isinstance(task, kind)), tags)
