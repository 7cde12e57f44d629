"""Evaluation of a model over its validation rows."""

from collections.abc import Callable, Mapping, Sequence

from lmkit.data.batches import Batch
from lmkit.engine import tensorflow as engine
from lmkit.heads.model import Model
from lmkit.tasks.spec import (
    AnyTask,
    DirectPreference,
    Labelled,
    MultipleChoice,
    QuestionAnswering,
    Regression,
    ReplacedToken,
    Reward,
    SentenceEmbedding,
    TwoSegments,
)
from lmkit.text.tokenizer import Tokenizer
from lmkit.training.evaluate import Hear, evaluate
from lmkit.training.step import EvaluationStep


def label_counts(tasks: Mapping[str, AnyTask], vocab_size: int, labels: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """How many answers each task has."""

    def size(name: str) -> int:
        task = tasks[name]
        if isinstance(task, Labelled):
            return len(labels[name])
        if isinstance(
            task, Regression | SentenceEmbedding | ReplacedToken | MultipleChoice | QuestionAnswering | DirectPreference | Reward
        ):
            return 0
        return 2 if isinstance(task, TwoSegments) else vocab_size

    return {name: size(name) for name in tasks}


def evaluator(
    tasks: Mapping[str, AnyTask],
    model: Model,
    batches: Sequence[Batch],
    tokenizer: Tokenizer,
    labels: Mapping[str, tuple[str, ...]],
    replicas: engine.Replicas,
    *,
    xla: bool,
) -> Callable[..., dict[str, float]]:
    """`evaluate(stop, hear)` gives every figure of every task over the batches; compiled once for each shape."""
    step = EvaluationStep(model, replicas, xla=xla)
    sizes = label_counts(tasks, tokenizer.vocab_size, labels)

    def run(stop: Callable[[], bool] = lambda: False, hear: Hear = lambda batch, rows: None) -> dict[str, float]:
        return evaluate(step, batches, tasks, label_counts=sizes, labels=labels, byte_length=tokenizer.byte_length, stop=stop, hear=hear)

    return run
