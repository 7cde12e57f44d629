"""What a run says beside its curves: samples and histograms on its way, its report, and what is known of a step that ends it."""

import json
import math
from collections.abc import Mapping
from typing import Any

from lmkit.checkpoints.files import write_file
from lmkit.engine import tensorflow as engine
from lmkit.errors import MachineError
from lmkit.heads.model import Model
from lmkit.inference.samples import Samples
from lmkit.run.directory import DONE
from lmkit.run.material import Material
from lmkit.run.model import variables_of
from lmkit.run.world import World
from lmkit.spec_file.spec import RunSpec
from lmkit.training.logging import Logger
from lmkit.training.plan import Plan
from lmkit.training.progress import RunState
from lmkit.training.report import loss_chart, write_report

NAN_REPORT = "nan-report.json"


class Said:
    """Says it on the console, in TensorBoard and in files of the run directory, of the model as it is when asked."""

    def __init__(self, world: World, spec: RunSpec, text: str, material: Material, model: Model, samples: Samples) -> None:
        self._path, self._console = world.run.path, world.console
        self._spec, self._text, self._batches, self._samples = spec, text, material.batches, samples
        self._variables = variables_of(model)

    def show(self, logger: Logger, step: int) -> None:
        """Samples and histograms after an evaluation."""
        if self._spec.logging.samples:
            logger.text("samples", step, self._samples.markdown())
        if self._spec.logging.histograms:
            logger.histograms(step, {name: engine.as_numpy(variable) for name, variable in self._variables.items()})

    def report(self, state: RunState, plan: Plan, why: str) -> None:
        """report.md, and the same in short for the terminal."""
        drawn, parameters = self._samples.texts(), sum(math.prod(variable.shape) for variable in self._variables.values())
        facts = {"parameters": f"{parameters:,}", "steps": f"{state.step:,}", "ended": why, "tokens": f"{state.tokens:,}"}
        path = write_report(self._path, title=self._spec.name, spec=self._text, facts=facts, samples=drawn)
        out = self._console.out
        for line in loss_chart(self._path, width=min(self._console.width, 100)):
            out(line)
        if why != DONE:
            out(f"stopped early at step {state.step} of {plan.steps}: {why}; the best checkpoint is the one that is used")
        for name, value in state.metrics.items():
            out(f"validation {name}: {value:.4f}")
        for prompt, continuation in drawn.items():
            out(f"sample: {prompt}{continuation}")
        out(f"{path} tells the whole; tensorboard --logdir {self._path / 'tensorboard'} shows the curves")

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Writes what is known of the step that ends the run, and of the texts in it, as far as the disk takes it."""
        known = {**facts, "documents": self._batches.documents(facts["step"] - 1)}
        path = self._path / NAN_REPORT
        try:
            write_file(path, json.dumps(known, indent=1, allow_nan=False) + "\n")
            self._console.err(f"{path} says what is known of step {facts['step']}")
        except MachineError as error:
            self._console.err(str(error))
