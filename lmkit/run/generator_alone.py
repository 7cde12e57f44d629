"""The generator of a replaced_token task as a model of its own: the masked language model that it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lmkit.errors import Problem, SpecError
from lmkit.models.shrink import shrunk
from lmkit.run.body import body_of
from lmkit.run.source import Say, Shapes, Source, Weights
from lmkit.tasks.spec import MaskedLm, ReplacedToken

TABLE = "embeddings.token.embedding"  # of the body, which the generator reads too


@dataclass(frozen=True)
class GeneratorAlone(Source):
    """A source with the task's name for its only task."""

    def weights(self, shapes: Callable[[], Shapes], say: Say) -> Weights:
        weights = super().weights(shapes, say)
        found = weights.tensors
        (task,) = self.spec.tasks
        inner = f"heads.{task}.generator."
        own = {_outside(name.removeprefix(inner), task): found[name] for name in found if name.startswith(inner)}
        return weights._replace(tensors=own | {TABLE: found[TABLE]})


def _outside(name: str, task: str) -> str:
    """`encoder.embeddings.norm.scale` as bodies call it, and `head.bias` as the task's."""
    part, _, rest = name.partition(".")
    return f"heads.{task}.{rest}" if part == "head" else rest if rest.startswith("embeddings.") else name


def generator_alone(source: Source, task: str) -> Source:
    """Raises SpecError where the task has no generator."""
    words: Any = source.spec.tasks.get(task)
    if not isinstance(words, ReplacedToken) or words.generator is None:
        raise SpecError(Problem(f"{task} is no task with a generator", "--task", "command line"))
    body: Any = body_of(source.spec)
    small = shrunk(body, words.generator.hidden_size, num_layers=words.generator.num_layers, max_length=source.spec.data.max_length)
    spec = source.spec.model_copy(update={"model": small, "tasks": {task: MaskedLm()}})
    return GeneratorAlone(source.path, spec, {}, source.imported)
