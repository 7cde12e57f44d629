"""Norms against numpy, and blocks as their equations."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from lmkit.attention.multi_head import MultiHeadAttention
from lmkit.blocks.feed_forward import DenseFeedForward, GatedFeedForward
from lmkit.blocks.norms import LayerNorm, RmsNorm, layer_norm, rms_norm
from lmkit.blocks.transformer import TransformerBlock
from lmkit.layers.activations import activation
from lmkit.models.initialize import initialize

RANDOM = np.random.default_rng(0)
X = (3 + 2 * RANDOM.normal(size=(2, 5, 8))).astype(np.float32)
SCALE, BIAS = RANDOM.normal(size=(2, 8)).astype(np.float32)


def test_layer_norm_is_its_formula() -> None:
    expected = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 1e-3) * SCALE + BIAS
    np.testing.assert_allclose(np.asarray(layer_norm(X, SCALE, BIAS, 1e-3)), expected, atol=1e-5)


def test_rms_norm_is_its_formula() -> None:
    expected = X / np.sqrt((X**2).mean(-1, keepdims=True) + 1e-3) * SCALE
    np.testing.assert_allclose(np.asarray(rms_norm(X, SCALE, 1e-3)), expected, atol=1e-5)


def test_norms_compute_in_float32_and_answer_in_the_dtype_they_were_asked_in() -> None:
    large = ops.cast(X * 300 + 1e4, "float16")  # squares overflow float16
    for out in (layer_norm(large, SCALE, BIAS, 1e-5), rms_norm(large, SCALE, 1e-5)):
        assert out.dtype.name == "float16"
        assert np.all(np.isfinite(np.asarray(out)))


def test_feed_forwards_are_their_formulas() -> None:
    dense, gated = DenseFeedForward(8, 12, name="dense"), GatedFeedForward(8, 12, activation="silu", name="gated")
    for layer in (dense, gated):
        layer.build()
        initialize(layer, 3)
    up, down = (np.asarray(part.kernel_weight) for part in (dense.up, dense.down))
    np.testing.assert_allclose(np.asarray(dense(X)), np.asarray(activation("gelu")(ops.convert_to_tensor(X @ up))) @ down, atol=1e-6)
    gate, up, down = (np.asarray(part.kernel_weight) for part in (gated.gate, gated.up, gated.down))
    np.testing.assert_allclose(
        np.asarray(gated(X)), (np.asarray(activation("silu")(ops.convert_to_tensor(X @ gate))) * (X @ up)) @ down, atol=1e-6
    )


def made(*norms: str, **changes: Any) -> Any:
    """A block with these norms, and it as functions of tensors: attention and feed-forward part by `a` and `f`."""
    parts: dict[str, Any] = {name: LayerNorm(8, name=name) for name in norms}
    parts = {"attention_norm": None, "feed_forward_norm": None} | parts
    attention, forward = MultiHeadAttention(8, 2, name="attention"), DenseFeedForward(8, 16, name="feed_forward")
    block = TransformerBlock(attention=attention, feed_forward=forward, name="0", **parts, **changes)
    block.build()
    initialize(block, 0)
    for weight in block.weights:
        weight.assign(weight * 10 + 0.1)
    return block


BOTH = ("attention_norm", "feed_forward_norm")
FOUR = (*BOTH, "attention_post_norm", "feed_forward_post_norm")


def equal(block: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(block(ops.convert_to_tensor(X))), np.asarray(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("residual", ["stream", "norm"])
def test_a_block_with_norms_before_adds_its_branches_to_the_stream_or_to_the_norm(residual: str) -> None:
    b, x = made(*BOTH, residual=residual), ops.convert_to_tensor(X)
    normed = b.attention_norm(x)
    middle = (x if residual == "stream" else normed) + b.attention(normed)
    normed = b.feed_forward_norm(middle)
    equal(b, (middle if residual == "stream" else normed) + b.feed_forward(normed))


def test_a_block_with_norms_after_norms_the_sums() -> None:
    b, x = made(*BOTH, placement="post"), ops.convert_to_tensor(X)
    middle = b.attention_norm(x + b.attention(x))
    equal(b, b.feed_forward_norm(middle + b.feed_forward(middle)))


def test_a_sandwich_norms_each_branch_on_both_sides() -> None:
    b, x = made(*FOUR, placement="sandwich"), ops.convert_to_tensor(X)
    middle = x + b.attention_post_norm(b.attention(b.attention_norm(x)))
    equal(b, middle + b.feed_forward_post_norm(b.feed_forward(b.feed_forward_norm(middle))))


def test_a_block_may_norm_its_branches_alone_and_shrink_them() -> None:
    b, x = made(*BOTH, placement="branch_post", residual_scale=0.3), ops.convert_to_tensor(X)
    middle = x + 0.3 * b.attention_norm(b.attention(x))
    equal(b, middle + 0.3 * b.feed_forward_norm(b.feed_forward(middle)))


def test_parallel_branches_read_the_same_stream_through_their_own_norms_or_one() -> None:
    x = ops.convert_to_tensor(X)
    own, shared = made(*BOTH, parallel=True), made("attention_norm", parallel=True)
    equal(own, x + own.attention(own.attention_norm(x)) + own.feed_forward(own.feed_forward_norm(x)))
    normed = shared.attention_norm(x)
    equal(shared, x + shared.attention(normed) + shared.feed_forward(normed))


def test_a_first_block_may_have_no_norm_before_attention() -> None:
    b, x = made("feed_forward_norm"), ops.convert_to_tensor(X)
    middle = x + b.attention(x)
    equal(b, middle + b.feed_forward(b.feed_forward_norm(middle)))


def test_a_unit_offset_starts_from_zero_and_multiplies_by_one_more() -> None:
    plain, offset = RmsNorm(8, name="plain"), RmsNorm(8, unit_offset=True, name="offset")
    for norm in (plain, offset):
        norm.build()
    np.testing.assert_array_equal(np.asarray(offset(X)), np.asarray(plain(X)))
    offset.scale.assign(SCALE)
    np.testing.assert_allclose(np.asarray(offset(X)), np.asarray(rms_norm(X, 1 + SCALE, 1e-6)), rtol=1e-6)


def test_a_layer_norm_may_have_no_bias() -> None:
    norm = LayerNorm(8, bias=False, name="norm")
    norm.build()
    assert [weight.name for weight in norm.weights] == ["scale"]
    np.testing.assert_allclose(np.asarray(norm(X)), np.asarray(layer_norm(X, np.ones(8, np.float32), np.zeros(8, np.float32), 1e-5)))
