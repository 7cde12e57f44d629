"""Fits a step into the memory of its devices: before a run's first step, a long batch is tried."""

from collections.abc import Callable

from lmkit.data.batches import Batches
from lmkit.errors import OutOfMemory
from lmkit.run.decision import in_smaller_parts, too_large
from lmkit.run.world import World
from lmkit.spec_file.spec import RunSpec
from lmkit.training.precision import Decision
from lmkit.training.step import Step

TRIED = 16  # batches, of which the longest is tried


def fitted(
    decision: Decision, step: Callable[[Decision], Step], spec: RunSpec, batches: Batches, steps: int, world: World
) -> tuple[Decision, Step]:
    """The decision, with smaller micro-batches where those have no room, and its step. Raises OutOfMemory."""
    batch = max((batches.train(i) for i in range(min(steps, TRIED))), key=lambda one: one["tokens"].size)
    while True:
        made = step(decision)
        try:
            made.try_memory(batch)
            short = False
        except OutOfMemory:
            short = True
        if not world.replicas.any(short):
            return decision, made
        smaller = in_smaller_parts(decision, spec, world.run, world.replicas)
        if smaller is None:
            raise OutOfMemory(too_large(decision))
        world.console.err(f"a step in {decision.micro_batches} micro-batches has not enough memory; trying {smaller.micro_batches}")
        decision = smaller
