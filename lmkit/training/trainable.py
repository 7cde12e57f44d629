"""Which variables are trained, how fast each, and the optimizer's slots beside them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import keras
import numpy as np
from keras import ops

from lmkit.engine import tensorflow as engine
from lmkit.errors import CheckpointError, Problem, SpecError
from lmkit.models.names import depths, matches
from lmkit.training.loss_scale import LossScale
from lmkit.training.optimizers import TWIN, Shape, averaged, averaged_slots

Tensor = Any


class Rule:
    """An update rule with its settings bound, and the shapes of its slots for a weight's shape.

    `rate` is its share of the schedule's learning rate. `fused` makes one kernel of the update: memory is then read once
    instead of a dozen times. Variables that share a rule share its kernels, of which there is one for each shape.
    """

    def __init__(self, update: Callable[..., Any], slots: Callable[[Shape], dict[str, Shape]], *, rate: float = 1.0, fused: bool = True):
        self.slots, self.rate, self._update, self._fused = slots, rate, update, fused
        self._kernel = engine.fused(self._flat) if fused else self._flat

    def averaged(self, decay: float) -> "Rule":
        """The same rule, which also keeps an average of the weights."""
        return Rule(averaged(self._update, decay), averaged_slots(self.slots), rate=self.rate, fused=self._fused)

    def __call__(self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], *, scale: Tensor, learning_rate: Tensor, step: Tensor):
        """The next weight and slots, from `scale` times the gradient."""
        weight, *values = self._kernel(weight, gradient, scale, learning_rate * self.rate, step, *slots.values())
        return weight, dict(zip(slots, values, strict=True))

    def _flat(self, weight: Tensor, gradient: Tensor, scale: Tensor, learning_rate: Tensor, step: Tensor, *values: Tensor):
        slots = dict(zip(self.slots(tuple(weight.shape)), values, strict=True))
        weight, after = self._update(weight, gradient * scale, slots, learning_rate=learning_rate, step=step)
        return weight, *(after[name] for name in slots)


def is_decayed(name: str) -> bool:
    """Weight decay is for kernels and embeddings; biases and norm scales have none."""
    return name.endswith((".kernel", ".embedding"))


def is_hidden_matrix(name: str, shape: Sequence[int]) -> bool:
    """The matrices inside the blocks, which Muon orthogonalizes: no embedding, no head."""
    return ".layers." in name and name.endswith(".kernel") and len(shape) == 2


def multipliers(names: Sequence[str], *, layer_decay: float = 1.0, freeze: Sequence[str] = ()) -> dict[str, float]:
    """The share of the learning rate that each variable gets; 0 is frozen.

    Heads and the final norm get 1, block i of L gets layer_decay^(L - i), the embeddings layer_decay^(L + 1); the L blocks of
    a decoder stand on top of those of the encoder beside it.
    Raises SpecError for a pattern of `freeze` that meets no variable, and when nothing is left to train.
    """
    require_parts(freeze, names, "model.freeze")
    depth, top = depths(names)

    def share(name: str) -> float:
        frozen = any(matches(pattern, name) for pattern in freeze)
        return 0.0 if frozen else layer_decay ** (top - depth[name])

    shares = {name: share(name) for name in names}
    if not any(shares.values()):
        raise SpecError(Problem("nothing is left to train", "model.freeze"))
    return shares


def awakenings(names: Sequence[str], every: int) -> dict[str, int]:
    """The last step in which each variable does not learn yet: heads and the final norm learn at once, each layer `every` steps after
    the one above it, and the embeddings after the first layer.
    """
    depth, top = depths(names)
    return {name: (top - depth[name]) * every for name in names}


def require_parts(patterns: Sequence[str], names: Sequence[str], key: str) -> None:
    """Raises SpecError for a pattern that meets no variable; `key` is where it stands."""
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            raise SpecError(Problem(_no_part(pattern, names), key))


def _no_part(pattern: str, names: Sequence[str]) -> str:
    parts = [re.sub(r"^(?:encoder|decoder)\.(?=layers)", "", name).split(".") for name in names]
    wholes = dict.fromkeys(".".join(part[: 2 if part[0] in ("layers", "heads") else 1]) for part in parts)
    near = get_close_matches(pattern, wholes, 1)
    layers = [whole for whole in wholes if whole.startswith("layers.")]
    shown = [whole for whole in wholes if whole not in layers] + [f"layers.0-{len(layers) - 1}"]
    return f"{pattern} is no part of this model; " + (f"did you mean {near[0]}?" if near else f"its parts are {', '.join(shown)}")


def _values(variables: Mapping[str, keras.Variable]) -> dict[str, np.ndarray]:
    return {name: engine.as_numpy(variable) for name, variable in variables.items()}


def _assign(variables: Mapping[str, keras.Variable], values: Mapping[str, np.ndarray], what: str) -> None:
    """Sets every variable; raises CheckpointError unless names and shapes are exactly the same."""
    for name in [*variables.keys() - values.keys(), *values.keys() - variables.keys()]:
        side = "is missing from the checkpoint" if name in variables else "is in the checkpoint but not in this run"
        raise CheckpointError(Problem(f"{what} {name} {side}"))
    for name, variable in variables.items():
        if tuple(variable.shape) != values[name].shape:
            raise CheckpointError(Problem(f"{what} {name} has shape {values[name].shape}, this run needs {tuple(variable.shape)}"))
    for name, variable in variables.items():
        variable.assign(values[name])


class Optimizer:
    """The trained variables with their slots; `updates` says what becomes of them after a gradient.

    Slots are named `<variable>/<slot>` and exist for trained variables only. Where `asleep` has a variable's last step without
    learning, it and its slots stay until then, and its steps are counted from there.

    Where weights are averaged, variables hold what is trained and their slots `twin` the averages; wherever weights are
    looked at, in `averaged()` and in the tensors of a checkpoint, both have changed places. The slots of `scaling`, which is
    there where the loss is scaled, are among the others.
    """

    def __init__(
        self,
        variables: Mapping[str, keras.Variable],
        rules: Mapping[str, Rule],
        shares: Mapping[str, float],
        replicas: engine.Replicas,
        asleep: Mapping[str, int] | None = None,
        scaling: LossScale | None = None,
    ) -> None:
        self.scaling = scaling
        self._asleep = {name: last for name, last in (asleep or {}).items() if last > 0}
        self.names = [name for name in variables if shares[name] > 0]
        self.variables = [variables[name] for name in self.names]
        self._all, self._rules, self._shares = variables, rules, shares
        with replicas.scope():
            self.slots = {
                f"{name}/{slot}": keras.Variable(np.zeros(shape, "float32"), trainable=False, name=slot)
                for name, variable in zip(self.names, self.variables, strict=True)
                for slot, shape in rules[name].slots(tuple(variable.shape)).items()
            }
        self.slots |= scaling.slots if scaling else {}
        self._twins = [
            (variable, self.slots[f"{name}/{TWIN}"])
            for name, variable in zip(self.names, self.variables, strict=True)
            if f"{name}/{TWIN}" in self.slots
        ]
        self.begin()

    def begin(self) -> None:
        """Averages begin at the weights, which must be those of the first step."""
        for variable, twin in self._twins:
            twin.assign(variable.value)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the variables hold the averages, where there are such."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for variable, twin in self._twins:
            engine.exchange(variable, twin)

    def heard(self, gradients: Sequence[Tensor], step: Tensor) -> list[Tensor]:
        """The gradients by which variables learn in a step: zeros for those that sleep."""
        return [
            gradient * ops.cast(step > self._asleep[name], gradient.dtype) if name in self._asleep else gradient
            for name, gradient in zip(self.names, gradients, strict=True)
        ]

    def updates(
        self, gradients: Sequence[Tensor], *, scale: Tensor, learning_rate: Tensor, step: Tensor
    ) -> list[tuple[keras.Variable, Tensor]]:
        """Every variable and slot with its next value, from `scale` times the gradients; nothing is assigned."""
        pairs: list[tuple[keras.Variable, Tensor]] = []
        for name, variable, gradient in zip(self.names, self.variables, gradients, strict=True):
            rule = self._rules[name]
            slots = {slot: self.slots[f"{name}/{slot}"] for slot in rule.slots(tuple(variable.shape))}
            rate, own = learning_rate * self._shares[name], step
            if name in self._asleep:
                own = ops.maximum(step - self._asleep[name], 1.0)
                rate = rate * ops.cast(step > self._asleep[name], "float32")
            weight, values = rule(
                ops.convert_to_tensor(variable.value),
                gradient,
                {slot: ops.convert_to_tensor(kept.value) for slot, kept in slots.items()},
                scale=scale,
                learning_rate=rate,
                step=own,
            )
            pairs += [(variable, weight), *((slots[slot], values[slot]) for slot in slots)]
        return pairs

    def tensors(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The weights of the whole model, frozen ones too, and the slots, on the host; averages stand in the weights' place."""
        with self.averaged():
            return _values(self._all), _values(self.slots)

    def first_not_finite(self) -> str | None:
        """The first weight, as it is trained, or slot that holds what is not finite."""
        for what, variables in (("", self._all), ("optimizer slot ", self.slots)):
            for name, variable in variables.items():
                if not np.isfinite(engine.as_numpy(variable)).all():  # one on the host at a time
                    return what + name
        return None

    def restore(self, model: Mapping[str, np.ndarray], slots: Mapping[str, np.ndarray]) -> None:
        """Sets weights and slots; raises CheckpointError when they are not those of this model and optimizer."""
        _assign(self._all, model, "weight")
        _assign(self.slots, slots, "optimizer slot")
        self._exchange()
