"""What the training loop asks of the world around it: where scalars and checkpoints go, and whether to stop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Scalars = Mapping[str, float]
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Snapshot:
    """A run after `step` optimizer steps: all that is needed to continue it bit for bit.

    `model` holds the weights by canonical name, `optimizer` its slots as `<canonical name>/<slot>`; `state` is JSON (counters,
    best value, the sums behind the next point of the curves). `metrics` are the newest validation scalars, empty before any.
    """

    step: int
    model: Tensors
    optimizer: Tensors
    state: dict[str, Any]
    metrics: Scalars


class Log(Protocol):
    """Takes the points of the curves; tags are those of training/tags.py."""

    def __call__(self, step: int, scalars: Scalars) -> None: ...


class Save(Protocol):
    """Takes a snapshot to be written, maybe while training goes on; with `best` it also becomes the best one so far."""

    def __call__(self, snapshot: Snapshot, *, best: bool) -> None: ...


class Settle(Protocol):
    """Raises what went wrong with the snapshot that `save` was given last; with `wait`, not before all of it is on disk."""

    def __call__(self, *, wait: bool) -> None: ...


class Restore(Protocol):
    """Goes back to a checkpoint of `step` at most: sets weights and slots, takes what came later out of checkpoints and logs, and
    gives that snapshot's `state`; None where there is no checkpoint.
    """

    def __call__(self, step: int) -> dict[str, Any] | None: ...


class Report(Protocol):
    """Hears what is known of the step that ends a run, as JSON."""

    def __call__(self, facts: Mapping[str, Any]) -> None: ...


class Stop(Protocol):
    """True once somebody asked to stop; polled at every call of the step function and every evaluation batch."""

    def __call__(self) -> bool: ...


class Progress(Protocol):
    """Hears after every call how far the run is, for a bar; nothing is stored."""

    def __call__(self, step: int, total: int, scalars: Scalars) -> None: ...


class AfterEvaluation(Protocol):
    """Called after each evaluation, at the same steps whatever the speed: samples and histograms are made here."""

    def __call__(self, step: int) -> None: ...


@dataclass(frozen=True)
class Hooks:
    """Everything the loop calls; what is left out does nothing. Without `save` no snapshot is made."""

    log: Log = lambda step, scalars: None
    save: Save | None = None
    settle: Settle = lambda *, wait: None
    restore: Restore = lambda step: None
    report: Report = lambda facts: None
    say: Callable[[str], None] = lambda line: None
    stop: Stop = lambda: False
    progress: Progress = lambda step, total, scalars: None
    after_evaluation: AfterEvaluation = lambda step: None
