"""Evaluation of a run's model over its validation rows."""

from collections.abc import Callable, Mapping

from lmkit.engine import tensorflow as engine
from lmkit.heads.model import Model
from lmkit.run.material import Material
from lmkit.run.spec import RunSpec
from lmkit.tasks.spec import Classification, NextSentence
from lmkit.training.evaluate import evaluate
from lmkit.training.step import EvaluationStep


def label_counts(spec: RunSpec, vocab_size: int, labels: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """How many answers each task has."""

    def size(name: str) -> int:
        task = spec.tasks[name]
        return len(labels[name]) if isinstance(task, Classification) else 2 if isinstance(task, NextSentence) else vocab_size

    return {name: size(name) for name in spec.tasks}


def evaluator(spec: RunSpec, model: Model, material: Material, replicas: engine.Replicas, *, xla: bool) -> Callable[..., dict[str, float]]:
    """`evaluate(stop)` over the validation rows."""
    step = EvaluationStep(model, replicas, xla=xla)
    sizes = label_counts(spec, material.tokenizer.vocab_size, material.batches.labels)

    def run(stop: Callable[[], bool] = lambda: False) -> dict[str, float]:
        lengths = material.tokenizer.byte_length
        return evaluate(step, material.batches.validation, spec.tasks, label_counts=sizes, byte_length=lengths, stop=stop)

    return run
