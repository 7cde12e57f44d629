"""Softmax cross-entropy in float32, and how token losses become the losses of rows."""

from typing import Any

from keras import ops


def cross_entropy(logits_NV: Any, labels_N: Any) -> tuple[Any, Any]:
    """-log softmax(logits)[label], float32 [N], and whether no class scores higher than the label, float32 [N].

    Labels must be in range even where they have no weight: XLA gives NaN for one that is not.
    """
    logits = ops.cast(logits_NV, "float32")
    highest = ops.max(logits, axis=-1)
    total = ops.sum(ops.exp(logits - ops.expand_dims(highest, -1)), axis=-1)
    chosen = ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(labels_N, -1), axis=-1), -1)
    correct = ops.cast(ops.greater_equal(chosen, highest), "float32")
    return ops.log(total) + highest - chosen, correct


def row_losses(logits_NV: Any, labels: Any, weights: Any) -> dict[str, Any]:
    """`loss`, `weight` and `correct`, each float32 [B]: sums over a row's labels [B, ...] of what each weighs."""
    batch = ops.shape(labels)[0]
    weights = ops.cast(weights, "float32")
    loss, correct = cross_entropy(logits_NV, ops.reshape(labels, (-1,)))
    by_row = ops.reshape(weights, (batch, -1))
    summed = {"loss": loss, "correct": correct}
    out = {name: ops.sum(ops.reshape(value, ops.shape(by_row)) * by_row, axis=1) for name, value in summed.items()}
    return out | {"weight": ops.sum(by_row, axis=1)}
