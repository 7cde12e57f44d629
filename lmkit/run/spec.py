"""The whole spec: one branch for each room, and the rules between rooms."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from lmkit.data.spec import Data
from lmkit.models.spec import Decoder, FromRun, Model
from lmkit.positions.spec import Learned
from lmkit.spec import Spec
from lmkit.tasks.spec import AnyTask, CausalLm, Classification, MaskedLm, NextSentence
from lmkit.text.spec import Tokenizer
from lmkit.training.spec import Logging, Runtime, Training


class RunSpec(Spec):
    """One run, as the user declares it."""

    version: Annotated[int, Field(ge=1)] = Field(1, description="Version of the spec language.")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Names the run directory, runs/<name>.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="Everything random follows from it.")
    tokenizer: Tokenizer | None = Field(None, description="Required unless model.from names a run, whose tokenizer is used.")
    data: Data
    model: Model
    tasks: dict[str, AnyTask] = Field(min_length=1)
    training: Training
    runtime: Runtime = Runtime()
    logging: Logging = Logging()

    def problems(self) -> Iterator[tuple[str, str]]:
        model = self.model
        if isinstance(model, FromRun):
            if self.tokenizer is not None:
                yield "tokenizer", "model.from brings the tokenizer of that run; remove this"
        else:
            if self.tokenizer is None:
                yield "", "tokenizer is missing; add for example tokenizer: {kind: bpe, vocab_size: 8000}"
            for i, position in enumerate(model.position):
                if isinstance(position, Learned) and position.max_length is not None and position.max_length < self.data.max_length:
                    key = "model.position" if len(model.position) == 1 else f"model.position.{i}"
                    yield (
                        f"{key}.max_length",
                        f"{position.max_length} is shorter than data.max_length = {self.data.max_length}; write that or more",
                    )
        for name, task in self.tasks.items():
            if task.data is not None and task.data not in self.data.train:
                yield f"tasks.{name}.data", f"data.train has no source {task.data}; it has {', '.join(self.data.train)}"
            if isinstance(task, CausalLm) and not isinstance(model, Decoder | FromRun):
                yield f"tasks.{name}.kind", "causal_lm needs model.kind: decoder"
            if isinstance(task, MaskedLm | NextSentence) and isinstance(model, Decoder):
                yield f"tasks.{name}.kind", f"{task.kind} needs model.kind: encoder"
            if isinstance(task, Classification):
                for source_name, source in self.data.train.items():
                    if task.data in (None, source_name) and "label" not in getattr(source, "columns", {}):
                        yield (
                            f"tasks.{name}",
                            f"source {source_name} of data.train names no label field; add columns: {{text: ..., label: ...}}",
                        )
        stopping = self.training.early_stopping
        if stopping is not None:
            if self.data.validation is None:
                yield "training.early_stopping", "there is no data.validation to watch"
            names = self.monitors()
            if stopping.monitor not in names:
                yield "training.early_stopping.monitor", f"{stopping.monitor} is not produced; choose from {', '.join(names)}"

    def monitors(self) -> list[str]:
        """Validation figures that early stopping and the best checkpoint may watch."""
        names = ["loss"]
        for name, task in self.tasks.items():
            names.append(f"{name}/loss")
            names += [f"{name}/{metric}" for metric in (task.metrics if isinstance(task, Classification) else ("accuracy",))]
        return names
