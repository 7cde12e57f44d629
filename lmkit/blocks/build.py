"""The door of blocks: norms and feed-forward parts from their words."""

from typing import Any, assert_never

from lmkit.blocks import spec as words
from lmkit.blocks.feed_forward import DenseFeedForward, GatedFeedForward
from lmkit.blocks.mixture import MixtureFeedForward
from lmkit.blocks.norms import LayerNorm, RmsNorm
from lmkit.layers.build import build_custom
from lmkit.layers.layer import Layer


def build_norm(spec: words.Norm, size: int, *, name: str) -> Layer:
    """The norm over a width of `size`, unbuilt; where it stands is the block's business."""
    match spec:
        case words.LayerNorm():
            return LayerNorm(size, epsilon=spec.epsilon, bias=spec.bias, name=name)
        case words.RmsNorm():
            return RmsNorm(size, epsilon=spec.epsilon, unit_offset=spec.unit_offset, name=name)
        case words.CustomNorm():
            return build_custom(spec, name=name, size=size)
        case _:
            assert_never(spec)


def build_feed_forward(spec: words.FeedForward, *, hidden_size: int, output_stddev: float) -> Layer:
    """The feed-forward part, unbuilt; `spec.intermediate_size` and the like are resolved."""
    if isinstance(spec, words.CustomFeedForward):
        return build_custom(spec, name="feed_forward", hidden_size=hidden_size, output_stddev=output_stddev)
    if spec.intermediate_size is None:
        raise ValueError("feed_forward.intermediate_size is not resolved")
    keywords: dict[str, Any] = {"activation": spec.activation, "output_stddev": output_stddev, "name": "feed_forward"}
    match spec:
        case words.Dense():
            return DenseFeedForward(hidden_size, spec.intermediate_size, bias=bool(spec.bias), **keywords)
        case words.Gated():
            return GatedFeedForward(hidden_size, spec.intermediate_size, bias=bool(spec.bias), **keywords)
        case words.Mixture():
            return MixtureFeedForward(
                hidden_size,
                spec.intermediate_size,
                num_experts=spec.num_experts,
                experts_per_token=spec.experts_per_token,
                renormalize=spec.renormalize,
                gated=spec.gated,
                balance_weight=spec.balance_weight,
                **keywords,
            )
        case _:
            assert_never(spec)
