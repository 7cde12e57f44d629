"""Dynamic loss scaling (Micikevicius et al., 2018): gradients of a multiple of the loss, since those of float16 end at 6e-8."""

from typing import Any

import keras
from keras import ops

from lmkit.engine import tensorflow as engine

Tensor = Any

START, HIGHEST = 2.0**15, 2.0**24
LAST = 2.0  # half of it is 1, which is no scale
DOUBLED_AFTER = 2000  # finite steps in a row


class LossScale:
    """A power of two that is halved by a step whose gradients overflow, from which nothing is learned, and doubled after 2,000 that do not.

    An overflow at a scale of 1 is none of the scale's, and changes nothing. What it knows is in `slots`, float32 scalars.
    """

    def __init__(self, replicas: engine.Replicas) -> None:
        with replicas.scope():
            self._scale = keras.Variable(START, trainable=False, name="scale")
            self._good = keras.Variable(0.0, trainable=False, name="finite_steps")
        self.slots = {"loss_scale/scale": self._scale, "loss_scale/finite_steps": self._good}

    def value(self) -> Tensor:
        """The factor of this step's loss."""
        return ops.convert_to_tensor(self._scale.value)

    def updates(self, finite: Tensor) -> list[tuple[keras.Variable, Tensor]]:
        """Both slots with their values after a step whose gradients were finite or not; nothing is assigned."""
        scale, good = self.value(), ops.convert_to_tensor(self._good.value) + 1.0
        doubled = good >= DOUBLED_AFTER
        grown = ops.where(doubled, ops.minimum(2.0 * scale, HIGHEST), scale)
        good = ops.where(ops.logical_or(doubled, ops.logical_not(finite)), 0.0, good)
        return [(self._scale, ops.where(finite, grown, 0.5 * scale)), (self._good, good)]
