"""Update rules as pure functions: (weight, gradient, slots) and the learning rate give the next weight and slots.

Every rule is called as `rule(weight, gradient, slots, learning_rate=, step=, weight_decay=)`; `step` counts from 1 and is
float32. Decay is decoupled from the gradient: the weight first shrinks by `learning_rate * weight_decay`. All is float32.
"""

import math
from collections.abc import Callable
from typing import Any

from keras import ops

Tensor = Any
Slots = dict[str, Tensor]
Shape = tuple[int, ...]
TWIN = "twin"  # the slot of an average

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of Jordan et al.: the steepest slope at zero
MUON_BETA1, MUON_BETA2, MUON_EPSILON = 0.9, 0.999, 1e-8  # of the AdamW that Muon leaves the rest to


def _one_minus_power(beta: float, step: Tensor) -> Tensor:
    """1 - beta^step without the cancellation that float32 has for beta near 1."""
    return -ops.expm1(step * math.log(beta)) if beta else ops.ones_like(step)


def adamw(
    weight: Tensor,
    gradient: Tensor,
    slots: Slots,
    *,
    learning_rate: Tensor,
    step: Tensor,
    weight_decay: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> tuple[Tensor, Slots]:
    """AdamW, algorithm 2 of Loshchilov and Hutter: w -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon).

    Epsilon is added after the correction of v, as in the paper and in PyTorch (Keras adds it before).
    """
    m = slots["m"] + (gradient - slots["m"]) * (1.0 - beta1)
    v = slots["v"] + (ops.square(gradient) - slots["v"]) * (1.0 - beta2)
    root = ops.sqrt(v) * ops.rsqrt(_one_minus_power(beta2, step)) + epsilon
    rate = learning_rate / _one_minus_power(beta1, step)
    return weight * (1.0 - learning_rate * weight_decay) - rate * m / root, {"m": m, "v": v}


def adamw_slots(shape: Shape) -> dict[str, Shape]:
    """First and second moment, of the weight's shape."""
    return {"m": shape, "v": shape}


def lion(
    weight: Tensor,
    gradient: Tensor,
    slots: Slots,
    *,
    learning_rate: Tensor,
    step: Tensor,
    weight_decay: float,
    beta1: float,
    beta2: float,
) -> tuple[Tensor, Slots]:
    """Lion (Chen et al., 2023): w -= lr * sign(beta1 m + (1 - beta1) g), then m = beta2 m + (1 - beta2) g."""
    m = slots["m"]
    direction = ops.sign(m * beta1 + gradient * (1.0 - beta1))
    return weight * (1.0 - learning_rate * weight_decay) - learning_rate * direction, {"m": m * beta2 + gradient * (1.0 - beta2)}


def momentum_slots(shape: Shape) -> dict[str, Shape]:
    """One momentum, of the weight's shape."""
    return {"m": shape}


def sgd(
    weight: Tensor,
    gradient: Tensor,
    slots: Slots,
    *,
    learning_rate: Tensor,
    step: Tensor,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
) -> tuple[Tensor, Slots]:
    """Gradient descent; with momentum, m = momentum m - lr g and w += m (Nesterov: momentum m - lr g once more)."""
    kept, down = weight * (1.0 - learning_rate * weight_decay), learning_rate * gradient
    if not momentum:
        return kept - down, {}
    m = momentum * slots["m"] - down
    return kept + (momentum * m - down if nesterov else m), {"m": m}


def no_slots(shape: Shape) -> dict[str, Shape]:
    """Nothing to remember."""
    return {}


def _rms(x: Tensor) -> Tensor:
    return ops.sqrt(ops.mean(ops.square(x)))


def adafactor(
    weight: Tensor,
    gradient: Tensor,
    slots: Slots,
    *,
    learning_rate: Tensor,
    step: Tensor,
    weight_decay: float,
    beta2_decay: float,
    clip_threshold: float,
    epsilon: float,
) -> tuple[Tensor, Slots]:
    """Adafactor (Shazeer and Stern, 2018), algorithms 4 and 5 with the schedule's learning rate in place of theirs.

    beta2 = 1 - step^beta2_decay. A matrix keeps only the row means r and column means c of the squared gradient, and
    v = r c / mean(r). The update g / sqrt(v), cut to an rms of `clip_threshold`, is scaled by max(1e-3, rms(weight)).
    """
    beta2 = 1.0 - ops.power(step, beta2_decay)
    square = ops.square(gradient) + epsilon
    if len(weight.shape) < 2:
        v = beta2 * slots["v"] + (1.0 - beta2) * square
        slots, update = {"v": v}, gradient * ops.rsqrt(v)
    else:
        r = beta2 * slots["r"] + (1.0 - beta2) * ops.mean(square, axis=-1)
        c = beta2 * slots["c"] + (1.0 - beta2) * ops.mean(square, axis=-2)
        by_row = ops.rsqrt(r / ops.mean(r, axis=-1, keepdims=True))
        slots, update = {"r": r, "c": c}, gradient * ops.expand_dims(by_row, -1) * ops.expand_dims(ops.rsqrt(c), -2)
    update = update / ops.maximum(1.0, _rms(update) / clip_threshold)
    kept = weight * (1.0 - learning_rate * weight_decay)
    return kept - learning_rate * ops.maximum(1e-3, _rms(kept)) * update, slots


def adafactor_slots(shape: Shape) -> dict[str, Shape]:
    """Row and column means for a matrix (the last two axes), the whole second moment for a vector."""
    return {"v": shape} if len(shape) < 2 else {"r": shape[:-1], "c": shape[:-2] + shape[-1:]}


def orthogonalize(x_MN: Tensor, steps: int = 5) -> Tensor:
    """Moves all singular values of a matrix near 1 by the quintic Newton-Schulz iteration x = a x + (b A + c A^2) x, A = x x^T.

    Five steps leave them between about 0.7 and 1.2, which is enough for Muon.
    """
    a, b, c = NEWTON_SCHULZ
    tall = x_MN.shape[0] > x_MN.shape[1]
    x = ops.transpose(x_MN) if tall else x_MN
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    for _ in range(steps):
        gram = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.transpose(x) if tall else x


def muon(
    weight: Tensor,
    gradient: Tensor,
    slots: Slots,
    *,
    learning_rate: Tensor,
    step: Tensor,
    weight_decay: float,
    momentum: float,
) -> tuple[Tensor, Slots]:
    """Muon (Jordan et al., 2024) for one matrix: Nesterov momentum, orthogonalized, of the rms that AdamW's updates have.

    w -= lr * 0.2 sqrt(max(rows, columns)) * orthogonalize(g + momentum m), m = momentum m + g; the scale is that of
    Moonlight (arXiv:2502.16982), with which Muon takes the learning rates and decay of AdamW.
    """
    m = momentum * slots["m"] + gradient
    scale = 0.2 * math.sqrt(max(weight.shape))
    update = orthogonalize(gradient + momentum * m)
    return weight * (1.0 - learning_rate * weight_decay) - learning_rate * scale * update, {"m": m}


def averaged(update: Callable[..., tuple[Tensor, Slots]], decay: float) -> Callable[..., tuple[Tensor, Slots]]:
    """The rule with an exponential moving average of the weight in the slot `twin`: twin += (1 - d) (w - twin) after each update.

    d = min(decay, (1 + step) / (10 + step)), so that an average of a short run is not one of its beginning (TensorFlow's own warm-up).
    """

    def rule(weight: Tensor, gradient: Tensor, slots: Slots, *, learning_rate: Tensor, step: Tensor) -> tuple[Tensor, Slots]:
        weight, after = update(weight, gradient, slots, learning_rate=learning_rate, step=step)
        share = 1.0 - ops.minimum(decay, (1.0 + step) / (10.0 + step))
        return weight, after | {TWIN: slots[TWIN] + share * (weight - slots[TWIN])}

    return rule


def averaged_slots(slots: Callable[[Shape], dict[str, Shape]]) -> Callable[[Shape], dict[str, Shape]]:
    """The slots of the rule, and the average."""
    return lambda shape: slots(shape) | {TWIN: shape}
