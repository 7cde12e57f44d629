"""Room on the disk for the checkpoints that a run is still to write."""

from lmkit.checkpoints import own
from lmkit.run.directory import RunDirectory, require_space
from lmkit.training.hooks import Snapshot
from lmkit.training.plan import Plan


def require_room(run: RunDirectory, plan: Plan, *, keep: int, size: int, snapshot: Snapshot | None) -> None:
    """Raises MachineError where the most checkpoints, of `size` bytes each, that there will be at once do not fit beside those there are.

    They are those that are kept, the best, the two that can be gone back to, and the one that is being written. Where the
    snapshot is the end of the plan, there will be none.
    """
    if snapshot is not None and plan.is_done(snapshot.step, snapshot.state["waited"]):
        return
    there = {*own.steps(run.checkpoints), *own.steps(run.best)}  # the best is mostly one of the others under another name
    most = keep + (plan.evaluate_every is not None) + (2 if plan.reach else 0) + 1
    wanted = max(most - len(there), 1)
    what = f"{wanted} checkpoints of {size / 1e9:.2g} GB"
    require_space(run.path, wanted * size, what, "free some space, or lower training.keep")
