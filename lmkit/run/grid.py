"""The grid of a run: how many steps it has, and at which of them it is evaluated, saved and logged."""

import math

from lmkit.data.batches import Batches
from lmkit.errors import Problem, SpecError
from lmkit.models.spec import FromRun
from lmkit.spec import Amount
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.scores import tag_metrics
from lmkit.tasks.spec import TokenClassification
from lmkit.training.build import build_policy
from lmkit.training.loop import Plan


def total_steps(spec: RunSpec, batches: Batches) -> int:
    """Optimizer steps of the whole run; epochs and tokens are turned into steps by what the data really holds."""
    training = spec.training
    if training.steps is not None:
        return training.steps
    if training.epochs is not None:
        return max(1, round(training.epochs * batches.steps_per_epoch))
    return max(1, math.ceil((training.tokens or 0) / batches.tokens_per_step))


def plan_of(spec: RunSpec, batches: Batches) -> Plan:
    """The loop's grid in steps. Raises SpecError where these data do not have what early stopping watches."""
    training = spec.training
    _require_aim(spec, batches)
    steps = total_steps(spec, batches)

    def in_steps(amount: Amount | None) -> int | None:
        if amount is None:
            return None
        return max(1, round(amount.value * (batches.steps_per_epoch if amount.unit == "epochs" else 1)))

    save = training.save_every
    stopping = training.early_stopping
    return Plan(
        steps=steps,
        log_every=spec.logging.every,
        evaluate_every=in_steps(training.evaluate_every) if len(batches.validation) else None,
        save_every=1000 if save is None else in_steps(save) if save.unit == "steps" else None,
        save_minutes=10.0 if save is None else save.value if save.unit == "minutes" else None,
        monitor="loss" if stopping is None else stopping.monitor,
        patience=None if stopping is None else stopping.patience,
        min_delta=0.0 if stopping is None else stopping.min_delta,
        non_finite=build_policy(training.non_finite, "non_finite"),
        loss_spikes=build_policy(training.loss_spikes, "loss_spikes"),
    )


def unfreeze_every(spec: RunSpec, batches: Batches) -> int:
    """Steps between the awakenings of two layers; 0 where all learn at once."""
    every = spec.model.unfreeze_every if isinstance(spec.model, FromRun) else None
    if every is None:
        return 0
    unit = {"epochs": batches.steps_per_epoch, "fraction": total_steps(spec, batches)}.get(every.unit, 1)
    return max(1, round(every.value * unit))


def _require_aim(spec: RunSpec, batches: Batches) -> None:
    stopping = spec.training.early_stopping
    name, _, figure = ("" if stopping is None else stopping.monitor).rpartition("/")
    task = spec.tasks.get(name)
    if isinstance(task, TokenClassification) and figure in task.metrics and figure not in tag_metrics(task, batches.labels[name]):
        what = f"{figure} is of entities, and the tags spell none ({', '.join(batches.labels[name][:3])}, ...); write {name}/accuracy"
        raise SpecError(Problem(what, "training.early_stopping.monitor"))
