"""The learning rate of each step, in plain Python."""

import math
from typing import assert_never

from lmkit.spec import Amount
from lmkit.training.spec import Constant, Cosine, InverseSqrt, LearningRate, Linear, WarmupStableDecay


def steps_of(amount: Amount, total_steps: int) -> int:
    """An amount of steps or a share of the run, in whole steps."""
    return round(amount.value * total_steps) if amount.unit == "fraction" else int(amount.value)


def learning_rate(schedule: LearningRate, step: int, total_steps: int) -> float:
    """The rate of update number `step` (1 .. total_steps) of a run of `total_steps` updates.

    With w steps of warm-up: peak * step / w while step <= w, so that the first update already moves. After it, with
    p = (step - w) / (total - w) running to 1 at the last step:

        constant             peak
        linear               peak * (1 - (1 - floor) p)
        cosine               peak * (floor + (1 - floor) (1 + cos(pi p)) / 2)
        inverse_sqrt         peak * sqrt(max(w, 1) / step)
        warmup_stable_decay  peak, and linear to the floor over the last `decay` steps
    """
    peak = schedule.peak
    warmup = steps_of(schedule.warmup, total_steps)
    if step <= warmup:
        return peak * (step / warmup)
    match schedule:
        case Constant():
            return peak
        case InverseSqrt():
            return peak * math.sqrt(max(warmup, 1) / step)
        case Linear():
            return peak * (1 - (1 - schedule.floor) * _progress(step, warmup, total_steps))
        case Cosine():
            half_cosine = (1 + math.cos(math.pi * _progress(step, warmup, total_steps))) / 2
            return peak * (schedule.floor + (1 - schedule.floor) * half_cosine)
        case WarmupStableDecay():
            start = max(warmup, total_steps - steps_of(schedule.decay, total_steps))
            return peak * (1 - (1 - schedule.floor) * _progress(step, start, total_steps))
        case _ as never:
            assert_never(never)


def _progress(step: int, start: int, end: int) -> float:
    return min(1.0, max(0.0, (step - start) / max(end - start, 1)))
