"""Where a run stands between steps: JSON enough to continue it as if it had never stopped."""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lmkit.training.bad_steps import Passed
from lmkit.training.spikes import Recent
from lmkit.training.step import StepSums


@dataclass
class Window:
    """Sums since the last point of the training curves."""

    steps: int = 0
    gradient_norm: float = 0.0
    balance: float = 0.0
    tasks: dict[str, list[float]] = field(default_factory=dict)  # loss sum, weight sum, correct sum

    def add(self, sums: StepSums, i: int) -> None:
        """Step i of a call."""
        self.steps += 1
        self.gradient_norm += float(sums.gradient_norm[i])
        self.balance += float(sums.balance[i])
        for name, values in sums.tasks.items():
            old = self.tasks.get(name, [0.0, 0.0, 0.0])
            self.tasks[name] = [total + float(value[i]) for total, value in zip(old, values, strict=True)]

    def figures(self, weights: Mapping[str, float], unjudged: Collection[str] = ()) -> dict[str, float]:
        """Means over the window: `loss`, `gradient_norm`, `{task}/loss`, `{task}/accuracy` but of the tasks `unjudged`, in which nothing is
        right or wrong; `balance` where there are experts. Nothing of a window without steps.
        """
        if not self.steps:
            return {}
        found = {"loss": 0.0, "gradient_norm": self.gradient_norm / self.steps}
        for name, (loss, weight, correct) in self.tasks.items():
            if weight > 0:
                found["loss"] += weights[name] * loss / weight
                found |= {f"{name}/loss": loss / weight} | ({} if name in unjudged else {f"{name}/accuracy": correct / weight})
        return found | ({"balance": self.balance / self.steps} if self.balance else {})


@dataclass
class RunState:
    """Everything but the tensors. `best` and `best_step` are of the watched validation figure; `waited` counts evaluations
    without improvement; `evaluated` is the step of the last evaluation and `metrics` what it found. `judged` is the last evaluation that
    `best` knows of: one that is made again after going back is not judged again.

    `passed` are the steps that nothing is learned from and that count or may come (again); `skipped` counts those behind.
    `loss_scale` is that of the last step, None where losses are not scaled. `recent` is empty where nobody looks for spikes.
    """

    step: int = 0
    tokens: int = 0
    evaluated: int = 0
    best: float | None = None
    best_step: int | None = None
    waited: int = 0
    judged: int = 0
    skipped: int = 0
    loss_scale: float | None = None
    passed: list[Passed] = field(default_factory=list)
    recent: Recent = field(default_factory=Recent)
    metrics: dict[str, float] = field(default_factory=dict)
    window: Window = field(default_factory=Window)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; floats come back to the same bits."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> "RunState":
        """What `to_json` gave."""
        passed, recent = [Passed(**one) for one in state.get("passed", ())], Recent(**state.get("recent", {}))
        return cls(**{**state, "window": Window(**state["window"]), "passed": passed, "recent": recent})

    def improved(self, value: float, *, higher_is_better: bool, min_delta: float) -> bool:
        """Takes in a new value of the watched figure; True when it is the best so far, by more than `min_delta`.

        A value that is not a number is never better.
        """
        self.judged = self.step
        gain = math.inf if self.best is None else (value - self.best if higher_is_better else self.best - value)
        better = not math.isnan(value) and gain > min_delta
        if better:
            self.best, self.best_step, self.waited = value, self.step, 0
        else:
            self.waited += 1
        return better
