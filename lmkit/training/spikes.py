"""Losses and gradient norms that stand far above those of the steps before."""

import math
from dataclasses import dataclass, field

STEPS, SIGMAS = 128, 6.0  # as OLMo, Levanter and MaxText
EVERY = 16  # steps after which limits are renewed: the same steps however they are grouped into calls


@dataclass
class Recent:
    """Loss and gradient norm of the last steps, and the limits that follow from them; part of a run's state.

    `limits` hold for the next `EVERY` steps: mean + 6 standard deviations of each; None while too little is known.
    """

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    limits: list[float] | None = None

    def add(self, loss: float, norm: float) -> None:
        """A step from which something was learned."""
        self.losses = [*self.losses[1 - STEPS :], loss]
        self.norms = [*self.norms[1 - STEPS :], norm]

    def renew(self) -> None:
        """From half of the steps on that are looked at."""
        if len(self.losses) >= STEPS // 2:
            self.limits = [limit(self.losses), limit(self.norms)]


def limit(values: list[float]) -> float:
    """Above it is a spike."""
    mean = math.fsum(values) / len(values)
    return mean + SIGMAS * math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
