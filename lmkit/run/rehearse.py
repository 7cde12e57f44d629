"""The first steps of a spec in a folder of their own, and what they gave: one side of `lmkit verify-parallel`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.run.body import with_body
from lmkit.run.code import in_run, require_permission
from lmkit.run.console import Console
from lmkit.run.crew import crew_of
from lmkit.run.directory import RunDirectory
from lmkit.run.material import CACHE, RUNS
from lmkit.run.signals import watch
from lmkit.run.train import session_of
from lmkit.spec_file.load import load, resolved_text
from lmkit.training.hooks import Hooks, Scalars, Snapshot

FIGURES, TENSORS = "figures.json", "tensors.npz"
# One point of the curves for each step, nothing between them and nothing gone back to, and the real numbers nearest to the mathematics.
WORDS = (
    "training.precision=float32",
    "training.non_finite=abort",
    "training.loss_spikes=off",
    "training.evaluate_every=1000000000 steps",
    "runtime.steps_per_call=1",
    "logging.every=1",
)


@dataclass
class Record:
    """Hears the figures of the first steps, and the last tensors, as the hooks of a trainer."""

    steps: int
    folder: Path
    figures: list[Scalars] = field(default_factory=list)

    def hooks(self) -> Hooks:
        return Hooks(log=self._log, save=self._save, stop=lambda: len(self.figures) >= self.steps)

    def _log(self, step: int, scalars: Scalars) -> None:
        self.figures.append({name.removeprefix("train/"): value for name, value in scalars.items()})

    def _save(self, snapshot: Snapshot, *, best: bool) -> None:
        tensors: dict[str, Any] = {**snapshot.model, **snapshot.optimizer}
        np.savez(self.folder / TENSORS, **tensors)
        (self.folder / FIGURES).write_text(json.dumps(self.figures))


def rehearse(spec: Path, *, overrides: Sequence[str], steps: int, replicas: int, folder: Path, allow_code: bool, console: Console) -> int:
    """Trains `steps` steps and leaves FIGURES, a mapping for each, and TENSORS, weights and slots behind them, in the folder.

    Computes on processors where there are fewer GPUs than `replicas`, so that all sides do. Raises what `lmkit train` raises.
    """
    resolved = with_body(load(spec, [*overrides]).spec)
    require_permission(resolved, allowed=allow_code, where=str(spec))
    with console.quiet():
        from lmkit.engine import devices
    devices.compute_exactly(replicas)
    with (
        watch(console.err, saves=False) as stop,
        crew_of(resolved.runtime, stop, console) as crew,
        crew.run_directory(lambda: RunDirectory(folder)) as run,
    ):
        session = session_of(resolved, resolved_text(in_run(resolved)), run, RUNS / CACHE, crew)
        session.rehearse(Record(steps, run.path).hooks())
    return 0
