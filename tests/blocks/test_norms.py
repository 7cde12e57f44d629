"""Norms against numpy, and blocks as their equations."""

import numpy as np
import pytest
from keras import ops

from lmkit.attention.multi_head import MultiHeadAttention
from lmkit.blocks.feed_forward import DenseFeedForward, GatedFeedForward
from lmkit.blocks.norms import LayerNorm, layer_norm, rms_norm
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


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_a_block_is_its_two_branches(placement: str) -> None:
    block = TransformerBlock(
        attention=MultiHeadAttention(8, 2, name="attention"),
        attention_norm=LayerNorm(8, name="attention_norm"),
        feed_forward=DenseFeedForward(8, 16, name="feed_forward"),
        feed_forward_norm=LayerNorm(8, name="feed_forward_norm"),
        placement=placement,  # type: ignore[arg-type]
        name="0",
    )
    block.build()
    initialize(block, 0)
    x = ops.convert_to_tensor(X)
    if placement == "pre":
        middle = x + block.attention(block.attention_norm(x))
        expected = middle + block.feed_forward(block.feed_forward_norm(middle))
    else:
        middle = block.attention_norm(x + block.attention(x))
        expected = block.feed_forward_norm(middle + block.feed_forward(middle))
    np.testing.assert_allclose(np.asarray(block(x)), np.asarray(expected), atol=1e-6)
