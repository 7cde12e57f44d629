"""One compiled training step: losses and gradients by micro-batch, one sum over replicas, clip, check, update."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import keras
import numpy as np
from keras import ops

from lmkit.checkpoints.tensors import first_not_finite
from lmkit.engine import tensorflow as engine
from lmkit.errors import OutOfMemory
from lmkit.training.not_finite import first_layer
from lmkit.training.trainable import Optimizer

Tensor = Any
Batch = Mapping[str, np.ndarray]


class Outcome(IntEnum):
    """What a step came to.

    An overflow at the scale of its loss changes that scale alone. What is above it is bad: a loss or norm above its limit, or one that is
    not finite, changes nothing, nor do the steps after it in a call.
    """

    LEARNED = 0
    OVERFLOW = 1
    SPIKE = 2
    NOT_FINITE = 3


@dataclass(frozen=True)
class StepSums:
    """What steps add up to; each array has one entry for a step.

    `tasks` maps a task to its (loss sum, weight sum, correct sum); `loss` is the total that was minimized,
    sum over tasks of task weight * loss sum / weight sum, plus `balance`, what uneven use of experts adds. `outcome` holds an
    Outcome for each; `loss_scale` what its loss was multiplied by, None where no loss is scaled.
    """

    loss: np.ndarray
    gradient_norm: np.ndarray
    outcome: np.ndarray
    loss_scale: np.ndarray | None
    balance: np.ndarray
    tasks: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def signature(batch: Batch) -> tuple:
    """What a batch must share with another to run through the same compiled step."""
    return tuple(sorted((name, array.shape) for name, array in batch.items()))


def tasks_in(batch: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The tasks that take part in a batch."""
    return [name for name in names if f"{name}/denominator" in batch]


def pad_rows(batch: Batch, multiple: int) -> dict[str, np.ndarray]:
    """Adds rows of zeros (padding, of weight 0) until the row count is a multiple; scalars stay."""

    def padded(array: np.ndarray) -> np.ndarray:
        missing = -array.shape[0] % multiple if array.ndim else 0
        return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else array

    return {name: padded(np.asarray(array)) for name, array in batch.items()}


class Step:
    """`step(batches, learning_rates, first_step)` makes one optimizer step per batch, at most `steps_per_call` in one call.

    Batches of one call share their shapes; each new set of shapes compiles once (`compilations` counts), whatever the
    number of batches, so a run gives the same bits however its steps are grouped into calls. The mathematics does not
    depend on replicas or micro-batches: rows are split contiguously and every share divides by the global denominators.
    """

    def __init__(
        self,
        model: keras.layers.Layer,
        optimizer: Optimizer,
        replicas: engine.Replicas,
        *,
        weights: Mapping[str, float],
        clip_norm: float | None = None,
        micro_batches: int = 1,
        steps_per_call: int = 1,
        xla: bool = False,
    ) -> None:
        self.steps_per_call = 1 if replicas.count > 1 else steps_per_call
        self._model, self._optimizer, self._replicas = model, optimizer, replicas
        self._weights, self._clip_norm, self._micro_batches = dict(weights), clip_norm, micro_batches
        self._rows = replicas.count * micro_batches
        xla = xla and not replicas.compiles
        # Collectives cannot stand inside an XLA program on these devices: there only the gradients are one.
        inside = xla and replicas.count > 1
        self._gradients = engine.compiled(self._accumulate, xla=True) if inside else self._accumulate
        self._call = engine.compiled(self._compute, xla=xla and not inside)

    @property
    def compilations(self) -> int:
        """How many programs were compiled so far."""
        return self._call.compilations

    def tensors(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Weights and optimizer slots on the host, by canonical name."""
        return self._optimizer.tensors()

    def restore(self, model: Mapping[str, np.ndarray], slots: Mapping[str, np.ndarray]) -> None:
        """Continues from what `tensors` gave; raises CheckpointError for anything else."""
        self._optimizer.restore(model, slots)

    def __call__(
        self, batches: Sequence[Batch], learning_rates: Sequence[float], first_step: int, limits: Sequence[float] | None = None
    ) -> StepSums:
        """Steps number first_step, first_step + 1, ... (from 1), one for each batch; `limits` are those of loss and gradient norm.

        A call whose first step is 0 changes nothing. Raises OutOfMemory.
        """
        batches = [pad_rows(batch, self._rows) for batch in batches]
        unused = self.steps_per_call - len(batches)
        if len({signature(batch) for batch in batches}) != 1 or unused < 0:
            raise ValueError(f"a call takes 1 to {self.steps_per_call} batches of equal shapes")
        stacked = {name: np.stack([b[name] for b in batches] + [np.zeros_like(batches[0][name])] * unused) for name in batches[0]}
        rates = np.asarray([*learning_rates] + [0.0] * unused, "float32")
        highest = np.asarray(limits or (np.inf, np.inf), "float32")
        with engine.memory_is_short():
            table = self._call(self._replicas.split(stacked, axis=1), rates, np.int32(first_step), np.int32(len(batches)), highest)
            return self._read(self._replicas.first(table)[: len(batches)], batches)

    def try_memory(self, batch: Batch) -> None:
        """Computes a step by the program that is to train, and learns nothing from it. Raises OutOfMemory."""
        self([batch], [0.0], first_step=0)

    @property
    def broken(self) -> str | None:
        """The first weight, or optimizer slot, that holds what is not finite."""
        return self._optimizer.first_not_finite()

    def first_not_finite(self, batch: Batch) -> str | None:
        """The weight, optimizer slot, part of the batch, output of a layer or gradient that is the first to hold what is not finite;
        where none does, the largest gradient, if the norm overflows.
        """
        if name := self.broken:
            return name
        if name := first_not_finite(batch):
            return f"{name} of the batch"
        whole = pad_rows(batch, self._rows)
        squares = engine.compiled(lambda part: self._replicas.run(self._squares, (part,)))
        with suppress(OutOfMemory), engine.memory_is_short():  # what the step itself has room for these may not have
            if layer := first_layer(self._model, whole, self._rows):
                return f"output of {layer}"
            finite, found = self._replicas.first(squares(self._replicas.split(whole)))
            names = [f"gradient of {name}" for name in self._optimizer.names]
            if not finite.all():
                return names[finite.argmin()]
            if not np.isfinite(found.sum(dtype="float32")):
                return f"{names[found.argmax()]}, which is finite and too large to be squared"
        return None

    def _squares(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Of each gradient whether all of it is finite, and the sum of its squares: [2, gradients]."""
        *gradients, _ = self._replicas.sum(self._gradients(batch))
        finite = [ops.cast(ops.all(ops.isfinite(gradient)), "float32") for gradient in gradients]
        return ops.stack([finite, [ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in gradients]])

    def _read(self, table: np.ndarray, batches: Sequence[Batch]) -> StepSums:
        tasks = {}
        for i, name in enumerate(tasks_in(batches[0], list(self._weights))):
            denominators = np.asarray([batch[f"{name}/denominator"] for batch in batches], "float32")
            tasks[name] = (table[:, 4 + 2 * i], denominators, table[:, 5 + 2 * i])
        loss, norm, outcome, scale = (table[:, i] for i in range(4))
        return StepSums(loss, norm, outcome.astype(int), scale if self._optimizer.scaling else None, table[:, -1], tasks)

    def _compute(self, stacked: Mapping[str, Tensor], rates: Tensor, first_step: Tensor, count: Tensor, highest: Tensor) -> Tensor:
        return self._replicas.run(self._on_replica, (stacked, rates, first_step, count, highest))

    def _on_replica(self, stacked: Mapping[str, Tensor], rates: Tensor, first_step: Tensor, count: Tensor, highest: Tensor) -> Tensor:
        """A table with a row for each step: loss, gradient norm, outcome, loss scale, each task's loss sum and correct sum, and balance."""

        def one(i: Any, alive: Tensor) -> tuple[Tensor, Tensor]:
            batch = {name: ops.take(array, i, axis=0) for name, array in stacked.items()}
            return self._one_step(batch, ops.take(rates, i), ops.cast(first_step + i, "float32"), highest, alive)

        alive = ops.greater(first_step, 0)
        if self.steps_per_call == 1:
            return ops.expand_dims(one(0, alive)[0], 0)

        def body(i: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            row, alive = one(i, state[1])
            here = ops.expand_dims(ops.arange(self.steps_per_call, dtype="int32") == i, 1)
            return ops.where(here, ops.expand_dims(row, 0), state[0]), alive

        columns = 5 + 2 * len(tasks_in(stacked, list(self._weights)))
        return engine.loop(count, body, (ops.zeros((self.steps_per_call, columns)), alive))[0]

    def _one_step(
        self, batch: Mapping[str, Tensor], rate: Tensor, step: Tensor, highest: Tensor, alive: Tensor
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        scaling = self._optimizer.scaling
        loss_scale = scaling.value() if scaling else ops.ones(())
        *gradients, sums = self._replicas.sum(self._gradients(batch, loss_scale))
        gradients = self._optimizer.heard(gradients, step)
        names = tasks_in(batch, list(self._weights))
        loss = sums[-1] + sum(self._weights[name] * sums[2 * i] / batch[f"{name}/denominator"] for i, name in enumerate(names))
        norm = ops.sqrt(sum(engine.sum_of_squares(gradient) for gradient in gradients)) / loss_scale
        finite = ops.logical_and(ops.isfinite(norm), ops.isfinite(loss))
        spike = ops.any(ops.stack([loss, norm]) > highest)
        right = ops.where(spike, float(Outcome.SPIKE), float(Outcome.LEARNED))
        wrong = ops.where(loss_scale > 1.0, float(Outcome.OVERFLOW), float(Outcome.NOT_FINITE))
        outcome = ops.where(finite, right, wrong)
        learned = ops.logical_and(alive, ops.equal(outcome, float(Outcome.LEARNED)))
        row = ops.concatenate([ops.stack([loss, norm, outcome, loss_scale]), sums])  # before the update, which moves the loss scale
        scale = (1.0 if self._clip_norm is None else self._clip_norm / ops.maximum(norm, self._clip_norm)) / loss_scale
        self._replicas.update(learned, lambda: self._optimizer.updates(gradients, scale=scale, learning_rate=rate, step=step))
        alive = ops.logical_and(alive, outcome <= float(Outcome.OVERFLOW))
        if scaling:
            self._replicas.update(alive, lambda: scaling.updates(learned))
        return row, alive

    def _accumulate(self, batch: Mapping[str, Tensor], loss_scale: Tensor = 1.0) -> list[Tensor]:
        """The gradients of a replica's rows, times a scale, and the vector of its tasks' sums and their balance, by micro-batches."""
        if self._micro_batches == 1:
            return self._micro_batch(batch, loss_scale)
        parts = {name: self._split(array) for name, array in batch.items()}

        def body(i: Tensor, state: list[Tensor]) -> list[Tensor]:
            part = {name: array if name.endswith("/denominator") else ops.take(array, i, axis=0) for name, array in parts.items()}
            return [total + new for total, new in zip(state, self._micro_batch(part, loss_scale), strict=True)]

        zeros = [ops.zeros(variable.shape) for variable in self._optimizer.variables]
        sums = ops.zeros((2 * len(tasks_in(batch, list(self._weights))) + 1,))
        return engine.loop(np.int32(self._micro_batches), body, [*zeros, sums])

    def _split(self, array: Tensor) -> Tensor:
        shape = tuple(array.shape)
        return ops.reshape(array, (self._micro_batches, shape[0] // self._micro_batches, *shape[1:])) if shape else array

    def _micro_batch(self, batch: Mapping[str, Tensor], loss_scale: Tensor) -> list[Tensor]:
        names = tasks_in(batch, list(self._weights))

        def forward() -> tuple[Tensor, list[Tensor]]:
            results = self._model(batch, row_key=batch["row_key"])
            sums = [ops.sum(results[name][what]) for name in names for what in ("loss", "correct")]
            loss = sum(self._weights[name] * sums[2 * i] / batch[f"{name}/denominator"] for i, name in enumerate(names))
            balance = balance_of(results, batch)
            return (loss + balance) * loss_scale, [ops.cast(value, "float32") for value in (*sums, balance)]

        _, sums, gradients = engine.value_and_grad(forward, self._optimizer.variables)
        return [*gradients, ops.stack(sums)]


def balance_of(results: Mapping[str, Mapping[str, Tensor]], batch: Mapping[str, Tensor]) -> Tensor:
    """What uneven use of experts adds to the loss: the tasks' mean of their weighted mean over rows; 0 without experts."""
    shares = [ops.sum(out["balance"]) / batch[f"{name}/denominator"] for name, out in results.items() if "balance" in out]
    return sum(shares) / len(shares) if shares else ops.zeros(())


class EvaluationStep:
    """`evaluate(batch)` gives each task's per-row arrays (`loss`, `weight`, `correct`, `predicted`, ...) on the host."""

    def __init__(self, model: keras.layers.Layer, replicas: engine.Replicas, *, xla: bool = False) -> None:
        self._model, self._replicas = model, replicas
        xla = xla and not replicas.compiles
        inside = xla and replicas.count > 1
        self._forward = engine.compiled(self._results, xla=True) if inside else self._results
        self._call = engine.compiled(lambda batch: replicas.run(self._forward, (batch,)), xla=xla and not inside)

    @property
    def compilations(self) -> int:
        """How many programs were compiled so far."""
        return self._call.compilations

    def __call__(self, batch: Batch) -> dict[str, dict[str, np.ndarray]]:
        rows = len(batch["tokens"])
        results = self._replicas.rows(self._call(self._replicas.split(pad_rows(batch, self._replicas.count))))
        return {task: {name: array[:rows] for name, array in arrays.items()} for task, arrays in results.items()}

    def _results(self, batch: Mapping[str, Tensor]) -> Any:
        return self._model(batch, row_key=None)
