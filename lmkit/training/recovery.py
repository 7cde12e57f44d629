"""A bad step is met: the run ends, goes on without it, or goes back to a checkpoint and learns nothing from the last steps."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from lmkit.errors import NumericsError, Problem
from lmkit.training.bad_steps import Passed, Policy, facts_of, still_needed, words_of
from lmkit.training.hooks import Hooks
from lmkit.training.plan import Plan
from lmkit.training.progress import RunState
from lmkit.training.step import Batch, Outcome, StepSums


@dataclass(frozen=True)
class Recovery:
    """By the policies of the plan. `first_not_finite(batch)` names what is not finite, `save()` returns when all is on disk."""

    plan: Plan
    hooks: Hooks
    first_not_finite: Callable[[Batch], str | None]
    save: Callable[[], None]

    def meet(self, state: RunState, sums: StepSums, i: int, batch: Batch) -> RunState:
        """Where the run goes on after step i of a call, which was bad and has changed nothing: the same state, to pass over it, or another.

        Raises NumericsError where the run ends, with all before it saved.
        """
        step = state.step + 1
        policy = self.plan.loss_spikes if sums.outcome[i] == Outcome.SPIKE else self.plan.non_finite
        facts = facts_of(step, sums, i, state.recent.limits)
        if why := policy.spent(state.passed, step):
            first = self.first_not_finite(batch)
            self.hooks.report(facts | {"first_not_finite": first})
            self.save()
            named = f"; first not finite is {first}" if first else ""
            raise NumericsError(Problem(f"{words_of(facts)}{named}; all steps before it are saved; {why}"))
        if policy.kind == "rollback":
            return self._go_back(state, step, policy, words_of(facts))
        self.hooks.say(f"{words_of(facts)}: passed over")
        state.passed = [*still_needed(state.passed, step, self.plan.reach), Passed(step, step, policy.kind, policy.key)]
        return state

    def meet_broken(self, state: RunState, step: int, name: str) -> RunState:
        """Where the run goes on from weights that a step has left not finite, though its loss and gradients were finite.

        Raises NumericsError where the run ends; what is saved is from before the step.
        """
        policy, words = self.plan.non_finite, f"step {step} left {name} not finite, though its loss and gradients are finite"
        other = "" if policy.kind == "rollback" else "training.non_finite: rollback would go back to a checkpoint before it"
        if why := other or policy.spent(state.passed, step):
            self.hooks.report({"step": step, "first_not_finite": name})
            self._settle()
            raise NumericsError(Problem(f"{words}; it is not saved and the checkpoint before it is intact; {why}"))
        return self._go_back(state, step, policy, words)

    def _go_back(self, before: RunState, step: int, policy: Policy, words: str) -> RunState:
        """To a checkpoint from before the last `policy.steps` steps up to a bad one, which are passed over when they come again.

        What follows is the same whichever checkpoint it was, so that a run that is killed ends with the bits of one that is not.
        """
        first = max(step + 1 - policy.steps, 1)
        self._settle()
        found = self.hooks.restore(first - 1)
        if found is None:
            raise NumericsError(Problem(f"{words}; there is no checkpoint to go back to"))
        after = RunState.from_json(found)
        bad = Passed(max(first, after.step + 1), step, policy.kind, policy.key)
        after.passed = [*before.passed, bad]
        after.best, after.best_step, after.waited, after.judged = before.best, before.best_step, before.waited, before.judged
        self.hooks.say(f"{words}: going on from step {after.step}, without steps {bad.first} to {bad.last}")
        return after

    def _settle(self) -> None:
        with suppress(NumericsError):  # weights that could not be saved are of the same bad step
            self.hooks.settle(wait=True)
