"""Softmax cross-entropy in float32, and how token losses become the losses of rows."""

from typing import Any

from keras import ops

from lmkit.engine.tensorflow import fused


@fused
def cross_entropy(logits_NV: Any, labels_N: Any) -> tuple[Any, Any]:
    """-log softmax(logits)[label], float32 [N], and whether no class scores higher than the label, float32 [N].

    Labels must be in range, which data/ sees to: another is not noticed here and trains towards nothing.
    """
    logits = ops.cast(logits_NV, "float32")
    # The gradient does not depend on what is subtracted; a comparison picks the label in the same pass, where a gather scatters back.
    below_highest = ops.subtract(logits, ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True)))
    classes = ops.expand_dims(ops.arange(ops.shape(logits)[-1], dtype="int32"), 0)
    here = ops.equal(ops.expand_dims(ops.cast(labels_N, "int32"), -1), classes)
    chosen = ops.sum(ops.where(here, below_highest, 0.0), axis=-1)
    total = ops.sum(ops.exp(below_highest), axis=-1)
    return ops.subtract(ops.log(total), chosen), ops.cast(ops.greater_equal(chosen, 0.0), "float32")


def row_losses(logits_NV: Any, labels: Any, weights: Any) -> dict[str, Any]:
    """`loss`, `weight` and `correct`, each float32 [B]: sums over a row's labels [B, ...] of what each weighs."""
    batch = ops.shape(labels)[0]
    weights = ops.cast(weights, "float32")
    loss, correct = cross_entropy(logits_NV, ops.reshape(labels, (-1,)))
    by_row = ops.reshape(weights, (batch, -1))
    summed = {"loss": loss, "correct": correct}
    out = {name: ops.sum(ops.reshape(value, ops.shape(by_row)) * by_row, axis=1) for name, value in summed.items()}
    return out | {"weight": ops.sum(by_row, axis=1)}
