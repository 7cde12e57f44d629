"""The loop: steps, points of the curves, evaluations and checkpoints on a grid of steps; all input and output is in hooks."""

import time
from collections.abc import Callable, Collection, Mapping

import numpy as np

from lmkit.errors import Interrupted, NumericsError, Problem
from lmkit.training import spikes, tags
from lmkit.training.bad_steps import is_passed
from lmkit.training.hooks import Hooks, Scalars, Snapshot, Stop
from lmkit.training.loss_scale import LAST
from lmkit.training.plan import Plan
from lmkit.training.prefetch import Prefetch
from lmkit.training.progress import RunState, Window
from lmkit.training.recovery import Recovery
from lmkit.training.step import Batch, Outcome, Step, StepSums, signature


class Trainer:
    """Runs a plan from a state: `train()` returns the final state, or raises with everything saved.

    `batch_at(i)` gives the batch of update i + 1, `rate_at(s)` the learning rate of update s, `evaluate(stop)` the
    validation figures; in the tasks `unjudged` nothing is right or wrong. `peak_flops` and `flops_per_token` (forward and
    backward) give the share of the hardware.
    """

    def __init__(
        self,
        step: Step,
        plan: Plan,
        *,
        batch_at: Callable[[int], Batch],
        rate_at: Callable[[int], float],
        weights: Mapping[str, float],
        unjudged: Collection[str] = (),
        evaluate: Callable[[Stop], dict[str, float]] | None = None,
        hooks: Hooks | None = None,
        state: RunState | None = None,
        steps_per_epoch: int | None = None,
        flops_per_token: float | None = None,
        peak_flops: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._step, self._plan, self._batch_at, self._rate_at = step, plan, batch_at, rate_at
        self._weights, self._unjudged, self._evaluate, self._hooks = dict(weights), unjudged, evaluate, hooks or Hooks()
        self.state = state or RunState()
        self._steps_per_epoch, self._clock = steps_per_epoch, clock
        self._peak_tokens = peak_flops / flops_per_token if peak_flops and flops_per_token else None
        self._saved_at = clock()
        self._changed = state is None and plan.reach > 0  # the beginning too may be gone back to
        self._shown: Scalars = {}
        self._refused: NumericsError | None = None  # of a save, which going back makes good
        self._broken: tuple[int, str] | None = None  # a step that weights were looked at behind, and the first that was not finite
        self._seconds, self._timed_tokens = 0.0, 0  # since the last point, compilation, evaluation and saving left out

    def train(self) -> RunState:
        """Runs to the end of the plan, or to where it stops early.

        Raises Interrupted after saving when asked to stop, NumericsError before any harm when a step is not finite.
        """
        self._save_unless_saved()
        while not self._to_the_end():
            pass
        self._save_unless_saved()
        return self.state

    def _to_the_end(self) -> bool:
        """All steps that are left; False when some of them are to be gone over again."""
        self._evaluate_if_due()
        with Prefetch(self._batch_at, self.state.step, self._plan.steps, depth=self._step.steps_per_call + 3) as batches:
            while not self.is_done:
                self._settle(wait=False)
                self._stop_if_asked()
                if not self._advance(batches) or not self._weights_hold():
                    return False
                if self._broken is None:
                    self._evaluate_if_due()
                    if self._save_is_due():
                        self._save()
        return True

    @property
    def is_done(self) -> bool:
        """Whether the plan is fulfilled or early stopping ended it."""
        return self._plan.is_done(self.state.step, self.state.waited)

    def _settle(self, *, wait: bool) -> None:
        """Raises what went wrong with the last save; weights that are not finite only where it waits: the next step is as bad."""
        try:
            self._hooks.settle(wait=wait)
        except NumericsError as error:
            self._refused = error
        if wait and self._refused:
            raise self._refused

    def _stop_if_asked(self) -> None:
        if self._hooks.stop():
            self._save_unless_saved()
            raise Interrupted(Problem(f"stopped after step {self.state.step} of {self._plan.steps}; the same command continues"))

    def _advance(self, batches: Prefetch[Batch]) -> bool:
        """One call of the step function: as many steps as it takes at once and the plan allows; False when the run has gone back."""
        state, going_on = self.state, True
        if is_passed(state.step + 1, state.passed):
            batches.take()
            self._pass_over()
        else:
            group = self._group(batches)
            sums = self._call(group)
            bad = np.flatnonzero(sums.outcome > Outcome.OVERFLOW)
            good = int(bad[0]) if len(bad) else len(group)
            for i in range(good):
                if sums.loss_scale is not None:
                    state.loss_scale = float(sums.loss_scale[i])
                self._account(sums, i, group[i]) if sums.outcome[i] == Outcome.LEARNED else self._overflow()
            if good < len(group):
                batches.give_back(group[good + 1 :])  # after a bad step a call does nothing
                going_on = self._meet(sums, good, group[good])
        if self.state.window.steps:  # else the point that was just made stands for the last steps
            self._shown = self.state.window.figures(self._weights, self._unjudged)
        self._hooks.progress(self.state.step, self._plan.steps, self._shown)
        return going_on

    def _group(self, batches: Prefetch[Batch]) -> list[Batch]:
        """The batches of one call: of equal shapes, up to the next boundary or step that is passed over."""
        step, group = self.state.step, [batches.take()]
        limit = min(self._step.steps_per_call, self._plan.left_to_boundary(step))
        while len(group) < limit and not is_passed(step + len(group) + 1, self.state.passed):
            if signature(batches.peek()) != signature(group[0]):
                break
            group.append(batches.take())
        return group

    def _call(self, group: list[Batch]) -> StepSums:
        start, compilations, first = self._clock(), self._step.compilations, self.state.step + 1
        limits = self.state.recent.limits if self._plan.finds_spikes else None
        sums = self._step(group, [self._rate_at(first + i) for i in range(len(group))], first, limits)
        if self._step.compilations == compilations:
            self._seconds += self._clock() - start
            self._timed_tokens += sum(map(_tokens, group))
        return sums

    def _account(self, sums: StepSums, i: int, batch: Batch) -> None:
        """A step from which something was learned."""
        self.state.tokens += _tokens(batch)
        self.state.window.add(sums, i)
        if self._plan.finds_spikes:
            self.state.recent.add(float(sums.loss[i]), float(sums.gradient_norm[i]))
        self._count()

    def _pass_over(self) -> None:
        """A step from which nothing is learned: it changes no weight, and data and learning rate go on."""
        self.state.skipped += 1
        self._count()

    def _overflow(self) -> None:
        """A step that is passed over since its loss was scaled by too much, and the next by half of that."""
        if self.state.loss_scale == LAST:
            self._hooks.say(f"step {self.state.step + 1} overflows: from here losses are not scaled, and one more such step is not finite")
        self._pass_over()

    def _count(self) -> None:
        state = self.state
        state.step, self._changed = state.step + 1, True
        if self._plan.finds_spikes and state.step % spikes.EVERY == 0:
            state.recent.renew()
        if state.step % self._plan.log_every == 0 or state.step == self._plan.steps:
            figures = state.window.figures(self._weights, self._unjudged) | {
                "learning_rate": self._rate_at(state.step),
                "tokens": state.tokens,
            }
            if state.loss_scale is not None:
                figures["loss_scale"] = state.loss_scale
            if state.skipped:
                figures["skipped_steps"] = state.skipped
            if self._steps_per_epoch:
                figures["epoch"] = state.step / self._steps_per_epoch
            self._shown = figures
            self._hooks.log(state.step, _tagged(tags.TRAIN, figures | self._speed()))
            state.window = Window()

    def _meet(self, sums: StepSums, i: int, batch: Batch) -> bool:
        """A bad step, which has changed nothing; False when the run has gone back."""
        after = self._recovery.meet(self.state, sums, i, batch)
        if after is self.state:
            self._pass_over()
            return True
        self._go_on_from(after)
        return False

    @property
    def _recovery(self) -> Recovery:
        return Recovery(self._plan, self._hooks, self._step.first_not_finite, self._save_unless_saved)

    def _weights_hold(self) -> bool:
        """Looks at weights where they are to be evaluated or saved; False when the run has gone back from such as are not finite.

        Mostly the next step is not finite then, and is met as others are.
        """
        state = self.state
        if self._broken is None and self._plan.is_boundary(state.step) and (name := self._step.broken):
            self._broken = state.step, name
        if self._broken is not None and (self.is_done or state.step > self._broken[0]):
            self._go_on_from(self._recovery.meet_broken(state, *self._broken))
            return False
        return True

    def _go_on_from(self, state: RunState) -> None:
        self.state, self._changed, self._refused, self._broken = state, False, None, None

    def _speed(self) -> dict[str, float]:
        if not self._seconds:
            return {}
        speed = self._timed_tokens / self._seconds
        self._seconds, self._timed_tokens = 0.0, 0
        return {"tokens_per_second": speed} | ({"peak_share": speed / self._peak_tokens} if self._peak_tokens else {})

    def _evaluate_if_due(self) -> None:
        state, every = self.state, self._plan.evaluate_every
        due = state.step > state.evaluated and every and (state.step % every == 0 or state.step == self._plan.steps)
        if self._evaluate is None or not due:
            return
        start = self._clock()
        try:
            figures = self._evaluate(self._hooks.stop)
        except Interrupted:
            self._stop_if_asked()  # saved with the evaluation still due
            raise
        state.evaluated, state.metrics, self._changed = state.step, figures, True
        self._hooks.log(state.step, _tagged(tags.VALIDATION, figures | {"seconds": self._clock() - start}))
        self._hooks.after_evaluation(state.step)
        monitor, delta = self._plan.monitor, self._plan.min_delta
        if monitor not in figures or state.step <= state.judged:
            return
        if state.improved(figures[monitor], higher_is_better=tags.find(monitor).higher_is_better, min_delta=delta):
            self._save(best=True)

    def _save_is_due(self) -> bool:
        plan, step = self._plan, self.state.step
        minutes = (self._clock() - self._saved_at) / 60
        planned = plan.save_every is not None and step % plan.save_every == 0
        late = plan.save_minutes is not None and minutes >= plan.save_minutes
        return self._changed and (planned or (late and self._step.broken is None))

    def _save_unless_saved(self) -> None:
        """Everything is on disk afterwards."""
        if self._changed:
            self._save()
        self._settle(wait=True)

    def _save(self, *, best: bool = False) -> None:
        self._settle(wait=True)  # before there is another copy of all tensors
        if self._hooks.save is not None:
            model, slots = self._step.tensors()
            snapshot = Snapshot(self.state.step, model, slots, self.state.to_json(), self.state.metrics)
            self._hooks.save(snapshot, best=best)
        self._changed, self._saved_at = False, self._clock()


def _tokens(batch: Batch) -> int:
    return sum(int(np.count_nonzero(batch[name])) for name in ("segments", "decoder/segments") if name in batch)


def _tagged(kind: str, figures: Scalars) -> dict[str, float]:
    return {f"{kind}/{name}": float(value) for name, value in figures.items()}
