"""Attention as a function, against a loop in float64."""

import numpy as np
import pytest
from keras import ops

from lmkit.attention.masks import Mask
from lmkit.attention.multi_head import MultiHeadAttention
from lmkit.attention.scores import attend
from lmkit.models.initialize import initialize

RANDOM = np.random.default_rng(0)


def inputs(batch: int = 2, length: int = 5, keys: int = 5, heads: int = 4, groups: int = 4, width: int = 6) -> list[np.ndarray]:
    shapes = [(batch, length, heads, width), (batch, keys, groups, width), (batch, keys, groups, width)]
    return [RANDOM.normal(size=shape).astype(np.float32) for shape in shapes]


def by_loop(q: np.ndarray, k: np.ndarray, v: np.ndarray, dense: np.ndarray, bias: np.ndarray) -> np.ndarray:
    out = np.zeros(q.shape)
    for b, t, n in np.ndindex(*q.shape[:3]):
        g = n // (q.shape[2] // k.shape[2])
        seen = np.flatnonzero(dense[b, 0, t])
        if len(seen):
            scores = k[b, seen, g].astype(np.float64) @ q[b, t, n] / np.sqrt(q.shape[-1]) + bias[0, n, t, seen]
            weights = np.exp(scores - scores.max())
            out[b, t, n] = weights @ v[b, seen, g] / weights.sum()
    return out


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_attention_is_its_formula_with_groups_masks_and_bias(groups: int) -> None:
    q, k, v = inputs(groups=groups)
    index = np.arange(5, dtype=np.int32)[None]
    segments = np.array([[1, 1, 2, 2, 0], [0, 1, 1, 1, 1]], np.int32)
    bias = RANDOM.normal(size=(1, 4, 5, 5)).astype(np.float32)
    mask = Mask(index, index, segments, segments, causal=True, window=3, bias=bias)
    out, weights = attend(q, k, v, mask=mask)
    np.testing.assert_allclose(np.asarray(out), by_loop(q, k, v, np.asarray(mask.dense()), bias), atol=1e-5)
    assert weights.shape == (2, 4, 5, 5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_query_that_sees_nothing_gives_zero(dtype: str) -> None:
    q, k, v = (ops.cast(x * 30, dtype) for x in inputs())
    index = np.arange(5, dtype=np.int32)[None]
    nothing = np.zeros((2, 5), np.int32)
    out, _ = attend(q, k, v, mask=Mask(index, index, nothing, nothing))
    np.testing.assert_array_equal(np.asarray(ops.cast(out, "float32")), 0)


def test_groups_as_many_as_heads_are_plain_multi_head_attention() -> None:
    x = RANDOM.normal(size=(2, 5, 16)).astype(np.float32)
    plain, grouped = (MultiHeadAttention(16, 4, num_kv_heads=groups, name="attention") for groups in (None, 4))
    outs = []
    for layer in (plain, grouped):
        layer.build()
        initialize(layer, 1)
        outs.append(np.asarray(layer(x)))
    np.testing.assert_array_equal(*outs)


def test_grouped_queries_are_plain_attention_with_repeated_keys() -> None:
    q, k, v = inputs(groups=2)
    grouped, _ = attend(q, k, v)
    repeated, _ = attend(q, np.repeat(k, 2, axis=2), np.repeat(v, 2, axis=2))
    np.testing.assert_allclose(np.asarray(grouped), np.asarray(repeated), atol=1e-6)


def test_dropped_weights_are_zero_and_the_expected_value_stays() -> None:
    q, k, v = inputs(batch=400, heads=2, groups=2)
    q[:], k[:], v[:] = q[0], k[0], v[0]
    kept, _ = attend(q, k, v)
    dropped, _ = attend(q, k, v, dropout_rate=0.3, row_key=np.arange(400, dtype=np.uint32), layer_id=9)
    np.testing.assert_allclose(np.mean(np.asarray(dropped), 0), np.asarray(kept)[0], atol=0.2)
    assert not np.allclose(np.asarray(dropped), np.asarray(kept))
