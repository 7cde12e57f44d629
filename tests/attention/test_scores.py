"""Attention as a function, against a loop in float64."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from lmkit.attention.build import scale_of
from lmkit.attention.distance import DistanceScores
from lmkit.attention.masks import Mask
from lmkit.attention.multi_head import MultiHeadAttention
from lmkit.attention.scores import attend
from lmkit.attention.spec import Attention
from lmkit.blocks.norms import LayerNorm
from lmkit.layers.weights import canonical
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


def test_a_cap_bends_the_scores_before_the_mask_is_added() -> None:
    q, k, v = inputs()
    index = np.arange(5, dtype=np.int32)[None]
    mask = Mask(index, index, causal=True)
    _, weights = attend(3 * q, k, v, mask=mask, scale=1.0, softcap=2.0)
    scores = 2 * np.tanh(3 * np.einsum("btnh,bsnh->bnts", q, k) / 2)
    scores = np.exp(np.where(np.tril(np.ones((5, 5), bool)), scores, -np.inf))
    np.testing.assert_allclose(np.asarray(weights), scores / scores.sum(-1, keepdims=True), atol=1e-5)


def attention(**changes: Any) -> MultiHeadAttention:
    layer = MultiHeadAttention(16, 4, name="attention", **changes)
    layer.build()
    initialize(layer, 1)
    for weight in layer.weights:
        weight.assign(weight * 20)
    return layer


def test_each_projection_has_a_bias_or_none() -> None:
    layer = attention(bias={"query": True, "key": False, "value": True, "output": False})
    biased = {canonical(weight).split(".")[0] for weight in layer.weights if weight.name == "bias"}
    assert biased == {"query", "value"}


def test_a_scale_by_layer_divides_by_the_number_of_the_layer() -> None:
    words = Attention(scale_by_layer=True)
    assert [scale_of(words, i, 16) for i in range(3)] == [0.25, 0.125, 0.25 / 3]
    assert scale_of(Attention(scale=0.7), 5, 16) == 0.7


@pytest.mark.parametrize("width", [4, 16])
def test_a_norm_on_queries_and_keys_spans_a_head_or_all(width: int) -> None:
    x = RANDOM.normal(size=(2, 5, 16)).astype(np.float32)
    norms = {name: LayerNorm(width, name=name) for name in ("query_norm", "key_norm")}
    layer = attention(**norms)
    for name, projected in (("query", layer.queries(x)), ("key", layer.keys_and_values(x)[0])):
        stretches = np.asarray(projected).reshape(2, 5, 16 // width, width)
        np.testing.assert_allclose(stretches.mean(-1), 0, atol=1e-5)
        np.testing.assert_allclose(stretches.std(-1), 20, rtol=1e-2)  # the scale that `attention` gave it
        assert norms[f"{name}_norm"].built


@pytest.mark.parametrize("groups", [2, 4])
def test_scores_of_distances_are_their_formula(groups: int) -> None:
    q, k, _ = inputs(groups=groups)
    layer = DistanceScores(8, 4, groups, 6, shared=False, name="distance")
    layer.build()
    initialize(layer, 3)
    vectors, row = RANDOM.normal(size=(7, 8)).astype(np.float32), RANDOM.integers(0, 7, (1, 5, 5)).astype(np.int32)
    asked, answered = (np.asarray(part(vectors)).reshape(7, -1, 6) for part in (layer.query, layer.key))
    got = np.asarray(layer(q, k, vectors, row, queries=None, keys=None))
    for b, n, t, s in np.ndindex(2, 4, 5, 5):
        group, r = n // (4 // groups), row[0, t, s]
        assert got[b, n, t, s] == pytest.approx(q[b, t, n] @ answered[r, group] + k[b, s, group] @ asked[r, n], abs=1e-5)
