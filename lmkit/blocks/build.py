"""The door of blocks: norms and feed-forward parts from their words."""

from typing import Any, assert_never

from lmkit.blocks import spec as words
from lmkit.blocks.feed_forward import DenseFeedForward, GatedFeedForward
from lmkit.blocks.norms import LayerNorm, RmsNorm
from lmkit.layers.layer import Layer


def build_norm(spec: words.Norm, size: int, *, name: str) -> Layer:
    """The norm over a width of `size`, unbuilt; where it stands is the block's business."""
    match spec:
        case words.LayerNorm():
            return LayerNorm(size, epsilon=spec.epsilon, name=name)
        case words.RmsNorm():
            return RmsNorm(size, epsilon=spec.epsilon, name=name)
        case _:
            assert_never(spec)


def build_feed_forward(spec: words.FeedForward, *, hidden_size: int, output_stddev: float) -> Layer:
    """The feed-forward part, unbuilt; `spec.intermediate_size` is resolved."""
    if spec.intermediate_size is None:
        raise ValueError("feed_forward.intermediate_size is not resolved")
    if isinstance(spec, words.Mixture):
        raise NotImplementedError("mixture")
    keywords: dict[str, Any] = {"activation": spec.activation, "output_stddev": output_stddev, "name": "feed_forward"}
    keywords["bias"] = bool(spec.bias)
    match spec:
        case words.Dense():
            return DenseFeedForward(hidden_size, spec.intermediate_size, **keywords)
        case words.Gated():
            return GatedFeedForward(hidden_size, spec.intermediate_size, **keywords)
        case _:
            assert_never(spec)
