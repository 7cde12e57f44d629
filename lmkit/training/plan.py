"""The plan of a run: how long, how often, and what is done when a step goes wrong."""

from dataclasses import dataclass

from lmkit.training import spikes
from lmkit.training.bad_steps import END, OFF, Policy


@dataclass(frozen=True)
class Plan:
    """How long and how often, in optimizer steps; None is never.

    `monitor` is the validation figure that chooses the best checkpoint and, with `patience` (evaluations without an
    improvement of more than `min_delta`), stops early. Checkpoints are saved every `save_every` steps or
    `save_minutes`, whichever is first; minutes change when a run is saved, never what it computes or logs. `non_finite` is what is
    done about a step whose loss or gradient is not finite, `loss_spikes` about one where they are far above those before.
    """

    steps: int
    log_every: int = 10
    evaluate_every: int | None = None
    save_every: int | None = 1000
    save_minutes: float | None = 10.0
    monitor: str = "loss"
    patience: int | None = None
    min_delta: float = 0.0
    non_finite: Policy = END
    loss_spikes: Policy = OFF

    @property
    def reach(self) -> int:
        """Steps that the run may go back behind; 0 where it never goes back."""
        return max((policy.steps for policy in (self.non_finite, self.loss_spikes) if policy.kind == "rollback"), default=0)

    @property
    def finds_spikes(self) -> bool:
        """Whether anybody looks for them."""
        return self.loss_spikes.kind != "off"

    def is_done(self, step: int, waited: int) -> bool:
        """Whether it is fulfilled after `step`, or ended early since the last `waited` evaluations were no better."""
        return step >= self.steps or (self.patience is not None and waited >= self.patience)

    def is_boundary(self, step: int) -> bool:
        """Whether there is an evaluation, a planned save or the end after `step`."""
        return step >= self.steps or any(grid and step % grid == 0 for grid in (self.evaluate_every, self.save_every))

    def left_to_boundary(self, step: int) -> int:
        """Steps until the next evaluation, planned save, renewal of the limits of a spike, or the end."""
        grids = [grid for grid in (self.evaluate_every, self.save_every, spikes.EVERY if self.finds_spikes else None) if grid]
        return min([self.steps - step, *(grid - step % grid for grid in grids)])
