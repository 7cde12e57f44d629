"""Evaluation of a run's model over its validation rows."""

from collections.abc import Callable, Mapping, Sequence

from lmkit.data.batches import Batch
from lmkit.engine import tensorflow as engine
from lmkit.heads.model import Model
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.spec import (
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
from lmkit.training.evaluate import evaluate
from lmkit.training.step import EvaluationStep


def label_counts(spec: RunSpec, vocab_size: int, labels: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """How many answers each task has."""

    def size(name: str) -> int:
        task = spec.tasks[name]
        if isinstance(task, Labelled):
            return len(labels[name])
        if isinstance(
            task, Regression | SentenceEmbedding | ReplacedToken | MultipleChoice | QuestionAnswering | DirectPreference | Reward
        ):
            return 0
        return 2 if isinstance(task, TwoSegments) else vocab_size

    return {name: size(name) for name in spec.tasks}


def evaluator(
    spec: RunSpec,
    model: Model,
    batches: Sequence[Batch],
    tokenizer: Tokenizer,
    labels: Mapping[str, tuple[str, ...]],
    replicas: engine.Replicas,
    *,
    xla: bool,
) -> Callable[..., dict[str, float]]:
    """`evaluate(stop)` gives every figure of every task over the batches; compiled once for each shape."""
    step = EvaluationStep(model, replicas, xla=xla)
    sizes = label_counts(spec, tokenizer.vocab_size, labels)

    def run(stop: Callable[[], bool] = lambda: False) -> dict[str, float]:
        return evaluate(step, batches, spec.tasks, label_counts=sizes, labels=labels, byte_length=tokenizer.byte_length, stop=stop)

    return run
