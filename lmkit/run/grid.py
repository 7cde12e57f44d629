"""The grid of a run: how many steps it has, and at which of them it is evaluated, saved and logged."""

import math

from lmkit.data.batches import Batches
from lmkit.run.spec import RunSpec
from lmkit.spec import Amount
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
    """The loop's grid in steps."""
    training = spec.training
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
    )
