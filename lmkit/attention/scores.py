"""Scaled dot-product attention as a pure function (Vaswani et al., 2017; grouped queries of Ainslie et al., 2023)."""

from typing import Any

from keras import ops

from lmkit.attention.masks import Mask
from lmkit.layers.dropout import dropout


def attend(
    q_BTNH: Any,
    k_BSKH: Any,
    v_BSKH: Any,
    *,
    mask: Mask | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    extra: Any = None,
    dropout_rate: float = 0.0,
    row_key: Any = None,
    layer_id: int = 0,
) -> tuple[Any, Any]:
    """softmax(cap(scale * (q k^T + extra)) + mask + bias) v -> values [B, T, N, H] and the weights [B, N, T, S] before dropout.

    `scale` is 1/sqrt(H) unless given; cap(x) is c tanh(x / c) for a `softcap` of c, else x. Query head n reads key head
    n // (N / K): the queries of a group are stacked along T, so no key is repeated in memory. The softmax is in float32; a
    query that sees no key gives 0.
    """
    batch, length, heads, width = ops.shape(q_BTNH)
    keys, groups = ops.shape(k_BSKH)[1:3]
    group = heads // groups
    scale = width**-0.5 if scale is None else scale
    q = q_BTNH * ops.cast(scale, q_BTNH.dtype)
    q = ops.reshape(ops.transpose(q, (0, 2, 1, 3)), (batch, groups, group * length, width))
    k, v = ops.transpose(k_BSKH, (0, 2, 3, 1)), ops.transpose(v_BSKH, (0, 2, 1, 3))
    scores_BNTS = ops.cast(ops.reshape(ops.matmul(q, k), (batch, heads, length, keys)), "float32")
    if extra is not None:
        scores_BNTS = scores_BNTS + scale * ops.cast(extra, "float32")
    if softcap is not None:
        scores_BNTS = softcap * ops.tanh(scores_BNTS / softcap)
    additive, seeing = (None, None) if mask is None else mask.additive()
    if additive is not None:
        scores_BNTS = scores_BNTS + additive
    weights = ops.cast(ops.softmax(scores_BNTS, axis=-1), v.dtype)
    dropped = dropout(weights, dropout_rate, row_key, layer_id)
    out = ops.matmul(ops.reshape(dropped, (batch, groups, group * length, keys)), v)
    out = ops.transpose(ops.reshape(out, (batch, heads, length, width)), (0, 2, 1, 3))
    if seeing is not None:
        out = out * ops.cast(ops.reshape(seeing, (*ops.shape(seeing), 1, 1)), out.dtype)
    return out, weights
