"""What becomes of a step that went wrong: the policies, and what a run remembers of the steps that it passed over."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lmkit.training.spikes import SIGMAS, STEPS
from lmkit.training.step import Outcome, StepSums

RECENT = 1000  # steps in which skips are counted


@dataclass(frozen=True)
class Passed:
    """Steps `first` to `last`, from which nothing was learned: the policy that passed over them, and the key that chose it."""

    first: int
    last: int
    kind: str
    key: str


@dataclass(frozen=True)
class Policy:
    """What a run does about a bad step, as `key` says: it ends (`abort`), passes over the step (`skip`), goes back to a checkpoint
    and then passes over the last `steps` steps, of which the bad one is the last (`rollback`), or finds nothing bad (`off`).

    More than `at_most` skips in 1,000 steps, or rollbacks in a run, end it too.
    """

    key: str
    kind: Literal["abort", "skip", "rollback", "off"] = "abort"
    at_most: int = 0
    steps: int = 1

    def spent(self, passed: Iterable[Passed], step: int) -> str:
        """Why the run ends with this bad step; empty where it goes on."""
        if self.kind == "abort":
            return f"training.{self.key}: skip would go on without this step"
        since = step - RECENT if self.kind == "skip" else 0
        if sum((one.key, one.kind) == (self.key, self.kind) and one.last > since for one in passed) < self.at_most:
            return ""
        return f"training.{self.key}.at_most = {self.at_most} {'of 1,000 steps' if self.kind == 'skip' else 'rollbacks'} are used up"


END = Policy("non_finite")
OFF = Policy("loss_spikes", "off")


def is_passed(step: int, passed: Iterable[Passed]) -> bool:
    """Whether nothing is to be learned from a step."""
    return any(one.first <= step <= one.last for one in passed)


def still_needed(passed: Iterable[Passed], step: int, reach: int) -> list[Passed]:
    """Without the skips that count no more at `step` and are behind all that a run goes back to, `reach` steps.

    Where it has to go back further, such a step comes again as bad as it was.
    """
    return [one for one in passed if one.kind != "skip" or one.last > step - max(RECENT, reach)]


def facts_of(step: int, sums: StepSums, i: int, limits: Sequence[float] | None) -> dict[str, Any]:
    """What is known of step i of a call, as JSON; numbers that are not finite are words. `limits` are those that a spike is above."""
    losses = {name: _number(loss[i] / max(weight[i], 1e-9)) for name, (loss, weight, _) in sums.tasks.items()}
    facts = {"step": step, "loss": _number(sums.loss[i]), "gradient_norm": _number(sums.gradient_norm[i]), "tasks": losses}
    return facts | ({"limits": dict(zip(("loss", "gradient_norm"), limits or (), strict=True))} if sums.outcome[i] == Outcome.SPIKE else {})


def words_of(facts: dict[str, Any]) -> str:
    """The same in one line."""
    losses = ", ".join(f"{name} {_short(loss)}" for name, loss in facts["tasks"].items())
    limits = " and ".join(f"{limit:g}" for limit in facts.get("limits", {}).values())
    above = f", above {limits} (mean + {SIGMAS:g} sigma of the last {STEPS} steps)" if limits else ""
    return f"step {facts['step']} gave a loss of {losses} and a gradient norm of {_short(facts['gradient_norm'])}{above}"


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
