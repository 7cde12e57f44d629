"""One vector for a row: which token, or mean of tokens, stands for a text."""

from typing import Any, Literal

from keras import ops

from lmkit.heads.masked_language_model import gather_rows

Pooling = Literal["first", "mean", "last", "eos"]


def pool(hidden_BTD: Any, segments_BT: Any, pooling: Pooling, *, tokens_BT: Any = None, end_id: int | None = None) -> Any:
    """[B, D]: the first real token (segment != 0), the mean over real ones, the last, or the last one that is `end_id`."""
    real = ops.not_equal(segments_BT, 0)
    if pooling == "mean":
        weight = ops.expand_dims(ops.cast(real, "float32"), -1)
        total = ops.sum(ops.cast(hidden_BTD, "float32") * weight, axis=1)
        return ops.cast(total / ops.maximum(ops.sum(weight, axis=1), 1e-9), hidden_BTD.dtype)
    if pooling == "first":
        place = ops.expand_dims(ops.argmax(ops.cast(real, "int32"), axis=1), 1)
    else:
        index = ops.expand_dims(ops.arange(ops.shape(segments_BT)[1], dtype="int32"), 0)
        wanted = real if pooling == "last" else ops.logical_and(real, ops.equal(tokens_BT, end_id))
        place = ops.max(ops.cast(ops.where(wanted, index, 0), "int32"), axis=1, keepdims=True)
    return ops.squeeze(gather_rows(hidden_BTD, place), 1)
