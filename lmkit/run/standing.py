"""Where a run stands: as it begins, as its newest checkpoint has it, or as one before has it, in all of its processes."""

from typing import Any

from lmkit.engine import tensorflow as engine
from lmkit.heads.model import Model
from lmkit.run.begin import begin
from lmkit.run.material import Material
from lmkit.run.model import variables_of
from lmkit.run.reference import References, mark_of, preferring, referred, store, stored
from lmkit.run.world import World
from lmkit.spec_file.spec import RunSpec
from lmkit.training.checkpointing import Checkpoints
from lmkit.training.hooks import Snapshot
from lmkit.training.logging import Logger
from lmkit.training.step import EvaluationStep
from lmkit.training.trainable import Optimizer


class Standing:
    """Fills the weights and slots of a run; the chief alone has checkpoints, and the others get what it has."""

    def __init__(self, world: World, spec: RunSpec, material: Material, model: Model, optimizer: Optimizer) -> None:
        self._run, self._replicas, self._say, self._asked = world.run, world.replicas, world.console.err, world.asked
        self._spec, self._material, self._model, self._optimizer = spec, material, model, optimizer
        self._variables = variables_of(model)

    def resumed(self, checkpoints: Checkpoints, saved: int | None) -> Snapshot | None:
        """The newest snapshot, None where the run begins; tensors only in the chief. Raises CheckpointError."""
        found = None
        if self._replicas.is_chief:
            found = checkpoints.resume(model=self._variables, optimizer=self._optimizer.slots, saved=saved)
        told = self._replicas.told(found and {"step": found.step, "state": found.state, "metrics": dict(found.metrics)})
        return found or (told and Snapshot(**told, model={}, optimizer={}))

    def begin_at(self, snapshot: Snapshot | None, *, xla: bool) -> References | None:
        """Fills weights and slots from the snapshot, or the body from the run that it comes from; gives what the model, as it began,
        says of the answers where tasks compare them with that.
        """
        names, data = preferring(self._spec), self._material.fingerprints
        references = stored(self._run, data, self._say) if snapshot is not None and names else None
        if snapshot is None or (names and references is None):
            begin(self._spec, self._model, self._variables, vocab_size=self._material.tokenizer.vocab_size, say=self._say)
        self._optimizer.begin()
        if names and references is None:
            references = self._referred(names, xla)
        if snapshot is not None and self._replicas.is_chief:
            self._optimizer.restore(snapshot.model, snapshot.optimizer)
            self._say(f"going on from step {snapshot.step}")
        self._align()
        return references

    def back_to(self, checkpoints: Checkpoints, logger: Logger, step: int) -> dict[str, Any] | None:
        """Goes back to a checkpoint of `step` or before it; gives the state of the loop then."""
        found = checkpoints.back_to(step) if self._replicas.is_chief else None
        if found is not None:
            self._optimizer.restore(found.model, found.optimizer)
            logger.cut_back(found.step, found.state["evaluated"])
        state: dict[str, Any] | None = self._replicas.told(found and found.state)
        self._align()
        return state

    def _align(self) -> None:
        self._replicas.align([*self._variables.values(), *self._optimizer.slots.values()])

    def _referred(self, names: list[str], xla: bool) -> References:
        """What the model, which is as it begins, says of every answer; kept for the next start."""
        data = self._material.fingerprints
        mark = mark_of({name: engine.as_numpy(variable) for name, variable in self._variables.items()}, data)
        found = stored(self._run, data, self._say, mark=mark)
        if found is None:
            self._say(f"asking the model what it thinks of all answers, as the reference of {', '.join(names)}")
            found = referred(EvaluationStep(self._model, self._replicas, xla=xla), self._material.batches, names, self._asked)
            store(self._run, mark, data, found)
        return found
