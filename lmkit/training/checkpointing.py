"""Joins the loop's snapshots with checkpoints on disk: save beside the training, keep the best, go on from the newest that is whole."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lmkit.checkpoints import own
from lmkit.checkpoints.files import Before, nothing
from lmkit.checkpoints.manifest import read_manifest, require
from lmkit.errors import CheckpointError, Problem
from lmkit.training.background import Background
from lmkit.training.hooks import Snapshot


class Checkpoints:
    """The checkpoints of one run directory; an instance is the loop's `save` hook, its method `settle` that of this name.

    They are written in a thread, one at a time; a failure is raised by the next call of anything here.

    `facts` go into every manifest (`spec`, `data` and `tokenizer` hashes, versions, decisions). `before_save` is called first:
    the log of a step must be on disk before its checkpoint is. `saved(step)` is called when a checkpoint is complete.
    With `reach`, a checkpoint at least so many steps old is kept, for `back_to`. While who calls waits for the thread, `beat` is
    called as long as the disk goes on; `before(point)` is called before each operation on it, in the thread.
    """

    def __init__(
        self,
        run: Path,
        *,
        keep: int,
        reach: int = 0,
        facts: Mapping[str, Any],
        before_save: Callable[[], None] = lambda: None,
        saved: Callable[[int], None] = lambda step: None,
        say: own.Say = own.silent,
        beat: Callable[[], None] = lambda: None,
        before: Before = nothing,
    ) -> None:
        self._directory, self._best = run / "checkpoints", run / "best"
        self._keep, self._reach, self._facts = keep, reach, json.loads(json.dumps(facts))  # as they come back: lists for tuples
        self.before_save, self._saved, self._say, self._beat, self._before = before_save, saved, say, beat, before
        self._operations, self._seen = 0, 0  # on the disk, and those that who waits knows of
        self._writing = Background("checkpoint", self._wait)

    def __call__(self, snapshot: Snapshot, *, best: bool) -> None:
        """Begins to save, once the one before is saved; then it becomes the best if it is, then what is too old is deleted."""
        self._writing.wait()
        self.before_save()
        self._writing.start(lambda: self._write(snapshot, best))

    def settle(self, *, wait: bool) -> None:
        """Raises MachineError or NumericsError where saving failed; with `wait`, all that was to be saved is then on disk."""
        if wait:
            self._writing.wait()
        else:
            self._writing.check()

    def _operation(self, point: str) -> None:
        self._operations += 1
        self._before(point)

    def _wait(self) -> None:
        if self._operations != self._seen:
            self._seen = self._operations
            self._beat()

    def _write(self, snapshot: Snapshot, best: bool) -> None:
        own.save(
            self._directory,
            snapshot.step,
            model=snapshot.model,
            optimizer=snapshot.optimizer,
            state={"loop": snapshot.state, "metrics": dict(snapshot.metrics)},
            facts=self._facts,
            before=self._operation,
        )
        self._saved(snapshot.step)
        if best:
            own.set_best(self._directory, self._best, snapshot.step, before=self._operation)
        own.retain(self._directory, self._keep, reach=self._reach, before=self._operation)

    def resume(self, *, model: Mapping[str, Any], optimizer: Mapping[str, Any], saved: int | None = None) -> Snapshot | None:
        """The newest snapshot that is whole, or None for a run that has never saved; for who holds the run's lock.

        `model` and `optimizer` are what this run has (anything with `.shape` and `.dtype`, by name); `saved` is a step that is
        known to have been saved. Raises CheckpointError when tensors differ, when no checkpoint is whole, and when
        checkpoints are gone: a run that was to go on is never begun anew.
        """
        found = own.load(self._directory, say=self._say, repair=True)
        if found is None:
            if saved is not None:
                what = f"the run has saved step {saved} and its checkpoints are gone; bring them back, or use --from-scratch"
                raise CheckpointError(Problem(what, where=str(self._directory)))
            return None
        require(found.model, model, found.path)
        require(found.optimizer, optimizer, found.path)
        best = found.state["loop"].get("best_step")
        later = any(step > found.step for step in own.steps(self._best))  # of a run that has gone back: it comes to that step again
        if best is not None and not later and not own.set_best(self._directory, self._best, best):
            self._say(f"{self._best}: the best checkpoint, of step {best}, is gone; training goes on from step {found.step}")
        own.retain(self._directory, self._keep, reach=self._reach, before=self._operation)  # which a kill may have come before
        return _snapshot(found)

    def back_to(self, step: int) -> Snapshot | None:
        """The newest snapshot of `step` or before it, or the oldest where none is so old; those after it are deleted, the newest first.

        The best checkpoint stays, whichever it is. Raises CheckpointError, MachineError.
        """
        self._writing.wait()
        found = own.load(self._directory, at_most=step, say=self._say, repair=True)
        if found is None:
            return None
        own.delete(self._directory, [later for later in reversed(own.steps(self._directory)) if later > found.step], before=self._operation)
        return _snapshot(found)


def _snapshot(found: own.Checkpoint) -> Snapshot:
    return Snapshot(found.step, found.model, found.optimizer, found.state["loop"], found.state["metrics"])


def newest_facts(run: Path) -> dict[str, Any]:
    """The facts of the newest checkpoint whose manifest is whole, without reading tensors; empty when there is none.

    What was decided at the first start (precision) is found here before a model is built.
    """
    directory = run / "checkpoints"
    for step in reversed(own.steps(directory)):
        try:
            return read_manifest(directory / own.name_of(step)).facts
        except CheckpointError:
            continue
    return {}
