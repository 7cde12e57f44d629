"""A trained run or a foreign folder in memory, to evaluate, predict or generate with."""

from dataclasses import dataclass
from pathlib import Path

from lmkit.checkpoints.manifest import require
from lmkit.checkpoints.own import read_state
from lmkit.checkpoints.tensors import Tensors, in_dtype
from lmkit.engine import devices
from lmkit.heads.model import Model
from lmkit.inference.opened import OpenedModel
from lmkit.run.begin import as_begun
from lmkit.run.code import require_permission, run_code
from lmkit.run.console import Console
from lmkit.run.directory import RunDirectory
from lmkit.run.model import build_model, variables_of
from lmkit.run.source import habits_of, source_of
from lmkit.spec_file.spec import RunSpec
from lmkit.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class OpenedRun:
    """A run's words and its model, filled with the best checkpoint or else the newest."""

    directory: RunDirectory
    spec: RunSpec
    tokenizer: Tokenizer
    model: Model
    labels: dict[str, tuple[str, ...]]
    step: int

    @property
    def answering(self) -> OpenedModel:
        """The model with what it takes to ask it."""
        spec, path = self.spec, self.directory.path
        return OpenedModel(
            path, spec.tasks, spec.data, self.tokenizer, self.model, self.labels, spec.seed, spec.imported, lambda: habits_of(path),
            lambda: as_begun(spec, vocab_size=self.tokenizer.vocab_size, labels=self.labels),
        )  # fmt: skip


def open_trained(path: Path, console: Console, *, allow_code: bool = False, dtype: str = "float32") -> OpenedRun:
    """Reads a run directory without taking its lock, so that a run in training can be looked at, or a foreign folder.

    The weights are held, once, and computed in `dtype`; `stored` is that of most of them. Raises CheckpointError where there
    is no run, no checkpoint, or none that fits the run's own words or `dtype`, SpecError where the run has code of the user's
    and `allow_code` is False.
    """
    source = source_of(path)
    require_permission(source.spec, allowed=allow_code, where=str(path))
    tokenizer = source.tokenizer()
    devices.configure()
    held = source.stored_in() if dtype == "stored" else dtype
    devices.hold_in(held)
    run_code(source.spec)
    model = build_model(source.spec, vocab_size=tokenizer.vocab_size, labels=source.labels, drawn=False)
    variables = variables_of(model)
    tensors, step, checkpoint = source.weights(lambda: {name: tuple(variable.shape) for name, variable in variables.items()}, console.err)
    if isinstance(tensors, Tensors):
        require(tensors.stored, variables, path, dtypes=False)
    for name, variable in variables.items():
        variable.assign(in_dtype(tensors[name], held, name))
    spec = source.spec if checkpoint is None else with_thresholds(source.spec, checkpoint)
    return OpenedRun(RunDirectory(path), spec, tokenizer, model, source.labels, step)


def with_thresholds(spec: RunSpec, checkpoint: Path) -> RunSpec:
    """The spec with what the evaluation before this checkpoint found in the place of `no_answer_threshold: auto`; before any, 0.5.

    Raises CheckpointError where the checkpoint's state is damaged.
    """
    undecided = [name for name, task in spec.tasks.items() if getattr(task, "no_answer_threshold", None) == "auto"]
    if not undecided:
        return spec
    metrics = read_state(checkpoint)["metrics"]
    found = {name: {"no_answer_threshold": metrics.get(f"{name}/best_f1_threshold", 0.5)} for name in undecided}
    decided = {name: spec.tasks[name].model_copy(update=threshold) for name, threshold in found.items()}
    return spec.model_copy(update={"tasks": {**spec.tasks, **decided}})
