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
            self.hooks.report(facts | {"first_not_finite": self.first_not_finite(batch)})
            self.save()
            raise NumericsError(Problem(f"{words_of(facts)}; all steps before it are saved; {why}"))
        if policy.kind == "rollback":
            return self._go_back(state, policy, words_of(facts))
        self.hooks.say(f"{words_of(facts)}: passed over")
        state.passed = [*still_needed(state.passed, step, self.plan.reach), Passed(step, step, policy.kind, policy.key)]
        return state

    def _go_back(self, before: RunState, policy: Policy, words: str) -> RunState:
        """To a checkpoint from before the last `policy.steps` steps, which are passed over when they come again.

        What follows is the same whichever checkpoint it was, so that a run that is killed ends with the bits of one that is not.
        """
        first = max(before.step + 2 - policy.steps, 1)
        with suppress(NumericsError):  # weights that could not be saved are of the same bad step
            self.hooks.settle(wait=True)
        found = self.hooks.restore(first - 1)
        if found is None:
            raise NumericsError(Problem(f"{words}; there is no checkpoint to go back to"))
        after = RunState.from_json(found)
        bad = Passed(max(first, after.step + 1), before.step + 1, policy.kind, policy.key)
        after.passed = [*before.passed, bad]
        after.best, after.best_step, after.waited, after.judged = before.best, before.best_step, before.waited, before.judged
        self.hooks.say(f"{words}: going on from step {after.step}, without steps {bad.first} to {bad.last}")
        return after
