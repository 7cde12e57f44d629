"""Which variables are trained, how fast each, and the optimizer's slots beside them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from lmkit.engine import tensorflow as engine
from lmkit.errors import Problem, SpecError
from lmkit.training.optimizers import Shape

Tensor = Any


@dataclass(frozen=True)
class Rule:
    """An update rule with its settings bound, and the shapes of its slots for a weight's shape."""

    update: Callable[..., tuple[Tensor, dict[str, Tensor]]]
    slots: Callable[[Shape], dict[str, Shape]]
    rate: float = 1.0  # share of the schedule's learning rate


def is_decayed(name: str) -> bool:
    """Weight decay is for kernels and embeddings; biases and norm scales have none."""
    return name.endswith((".kernel", ".embedding"))


def is_hidden_matrix(name: str, shape: Sequence[int]) -> bool:
    """The matrices inside the blocks, which Muon orthogonalizes: no embedding, no head."""
    return ".layers." in name and name.endswith(".kernel") and len(shape) == 2


def matches(name: str, pattern: str) -> bool:
    """Whether a variable lies in a part: `embeddings`, `layers.3`, `layers.0-5`, or any prefix of its name."""
    parts, wanted = name.split("."), pattern.split(".")
    if wanted[0] == "layers":
        parts = parts[1:]  # the stack's own name
    return len(parts) >= len(wanted) and all(map(_part_matches, parts, wanted))


def _part_matches(part: str, wanted: str) -> bool:
    span = re.fullmatch(r"(\d+)-(\d+)", wanted)
    if span and part.isdigit():
        return int(span[1]) <= int(part) <= int(span[2])
    return part == wanted


def multipliers(names: Sequence[str], *, layer_decay: float = 1.0, freeze: Sequence[str] = ()) -> dict[str, float]:
    """The share of the learning rate that each variable gets; 0 is frozen.

    Heads and the final norm get 1, block i of L gets layer_decay^(L - i), the embeddings layer_decay^(L + 1).
    Raises SpecError for a pattern of `freeze` that meets no variable, and when nothing is left to train.
    """
    for pattern in freeze:
        if not any(matches(name, pattern) for name in names):
            raise SpecError(Problem(f"{pattern} is no part of this model", "model.freeze"))
    layers = {name: int(found[1]) for name in names if (found := re.search(r"\.layers\.(\d+)\.", name))}
    depth = max(layers.values(), default=-1) + 1

    def share(name: str) -> float:
        if any(matches(name, pattern) for pattern in freeze):
            return 0.0
        below_top = depth - layers[name] if name in layers else depth + 1 if name.startswith("embeddings.") else 0
        return layer_decay**below_top

    shares = {name: share(name) for name in names}
    if not any(shares.values()):
        raise SpecError(Problem("nothing is left to train", "model.freeze"))
    return shares


class Optimizer:
    """The trained variables with their slots; `apply` updates all of them from their gradients.

    Slots are named `<variable>/<slot>` and exist for trained variables only.
    """

    def __init__(
        self,
        variables: Mapping[str, keras.Variable],
        rules: Mapping[str, Rule],
        shares: Mapping[str, float],
        replicas: engine.Replicas,
    ) -> None:
        self.names = [name for name in variables if shares[name] > 0]
        self.variables = [variables[name] for name in self.names]
        self._rules, self._shares, self._replicas = rules, shares, replicas
        with replicas.scope():
            self.slots = {
                f"{name}/{slot}": keras.Variable(np.zeros(shape, "float32"), trainable=False, name=slot)
                for name, variable in zip(self.names, self.variables, strict=True)
                for slot, shape in rules[name].slots(tuple(variable.shape)).items()
            }

    def apply(self, gradients: Sequence[Tensor], *, scale: Tensor, learning_rate: Tensor, step: Tensor) -> None:
        """One update from `scale` times the gradients; called on every replica with equal ones, inside a compiled function."""
        for name, variable, gradient in zip(self.names, self.variables, gradients, strict=True):
            rule = self._rules[name]
            slots = {slot: self.slots[f"{name}/{slot}"] for slot in rule.slots(tuple(variable.shape))}
            weight, values = rule.update(
                ops.convert_to_tensor(variable.value),
                gradient * scale,
                {slot: ops.convert_to_tensor(kept.value) for slot, kept in slots.items()},
                learning_rate=learning_rate * (rule.rate * self._shares[name]),
                step=step,
            )
            self._replicas.assign(variable, weight)
            for slot, kept in slots.items():
                self._replicas.assign(kept, values[slot])
