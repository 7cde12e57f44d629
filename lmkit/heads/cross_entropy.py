"""Softmax cross-entropy in float32, and how token losses become the losses of rows."""

from collections.abc import Callable
from functools import cache
from typing import Any

from keras import ops

from lmkit.engine.tensorflow import fused


def cross_entropy(logits_NV: Any, labels_N: Any, smoothing: float = 0.0) -> tuple[Any, Any]:
    """-sum_v q_v log softmax(logits)_v, float32 [N], and whether no class scores higher than the label, float32 [N].

    q gives the label 1 - `smoothing` and shares that among all V classes besides (Szegedy et al., 2016). Labels must be in
    range, which data/ sees to: another is not noticed here and trains towards nothing.
    """
    return _kernel(smoothing)(logits_NV, labels_N)


@cache
def _kernel(smoothing: float) -> Callable[..., Any]:
    return fused(lambda logits_NV, labels_N: _cross_entropy(logits_NV, labels_N, smoothing))


def _cross_entropy(logits_NV: Any, labels_N: Any, smoothing: float) -> tuple[Any, Any]:
    logits = ops.cast(logits_NV, "float32")
    # The gradient does not depend on what is subtracted; a comparison picks the label in the same pass, where a gather scatters back.
    below_highest = ops.subtract(logits, ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True)))
    classes = ops.expand_dims(ops.arange(ops.shape(logits)[-1], dtype="int32"), 0)
    here = ops.equal(ops.expand_dims(ops.cast(labels_N, "int32"), -1), classes)
    chosen = ops.sum(ops.where(here, below_highest, 0.0), axis=-1)
    wanted = chosen if smoothing == 0 else (1 - smoothing) * chosen + smoothing * ops.mean(below_highest, axis=-1)
    total = ops.sum(ops.exp(below_highest), axis=-1)
    return ops.subtract(ops.log(total), wanted), ops.cast(ops.greater_equal(chosen, 0.0), "float32")


def weighted_cross_entropy(logits_BV: Any, weights_BV: Any) -> Any:
    """mean_v -weights_v log softmax(logits)_v, float32 [B]: what smoothing adds where classes have weights."""
    return -ops.mean(ops.log_softmax(ops.cast(logits_BV, "float32")) * weights_BV, axis=-1)


def binary_cross_entropy(logits: Any, labels: Any, weights: Any = None) -> Any:
    """-log sigmoid(logit) where the label is 1, times its weight if there are some, -log(1 - sigmoid(logit)) where it is 0, in float32."""
    logits, labels = ops.cast(logits, "float32"), ops.cast(labels, "float32")
    loss = ops.softplus(logits) - logits * labels
    return loss if weights is None else loss + (weights - 1) * labels * ops.softplus(-logits)


def row_losses(logits_NV: Any, labels: Any, weights: Any, smoothing: float = 0.0) -> dict[str, Any]:
    """`loss`, `weight` and `correct`, each float32 [B]: sums over a row's labels [B, ...] of what each weighs."""
    loss, correct = cross_entropy(logits_NV, ops.reshape(labels, (-1,)), smoothing)
    return row_sums(weights, loss=loss, correct=correct)


def row_sums(weights: Any, **values: Any) -> dict[str, Any]:
    """`weight` and each of `values`, float32 [B]: sums over a row of what is given for each of its labels, times its weight.

    `weights` has the labels' shape [B, ...], the values as many entries in the same order.
    """
    batch = ops.shape(weights)[0]
    by_row = ops.reshape(ops.cast(weights, "float32"), (batch, -1))
    sums = {name: ops.sum(ops.reshape(value, ops.shape(by_row)) * by_row, axis=1) for name, value in values.items()}
    return sums | {"weight": ops.sum(by_row, axis=1)}
