"""The door of attention: one layer's attention from the words for all layers."""

from lmkit.attention.cross import CrossAttention
from lmkit.attention.distance import DistanceScores
from lmkit.attention.multi_head import MultiHeadAttention
from lmkit.attention.spec import AnyAttention, Attention, CustomAttention
from lmkit.layers.build import build_custom
from lmkit.layers.layer import Layer
from lmkit.positions.rotary import Layout
from lmkit.positions.spec import Disentangled


def build_attention(
    spec: AnyAttention,
    layer: int,
    *,
    hidden_size: int,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    rotary_layout: Layout,
    output_stddev: float,
    bias: bool = True,
    query_norm: Layer | None = None,
    key_norm: Layer | None = None,
    distance: Disentangled | None = None,
    memory_size: int | None = None,
) -> Layer:
    """The attention of layer number `layer`, unbuilt; `spec.bias` and `spec.dropout` are resolved.

    With `memory_size`, the one that reads states of that width; `distance` says how distances are scored, if they are. `bias`
    is the model's, for an attention whose words do not say which projections it has.
    """
    if isinstance(spec, CustomAttention):
        sizes = {"hidden_size": hidden_size, "num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
        own = {"window": spec.window_of(layer), "dropout": spec.dropout or 0.0, "bias": bias, "rotary_layout": rotary_layout}
        return build_custom(spec, name="attention", output_stddev=output_stddev, **sizes, **own)  # type: ignore[no-any-return]
    kinds = 1
    if distance is not None:
        kinds += distance.content_to_position + distance.position_to_content
    attention, name = (MultiHeadAttention, "attention") if memory_size is None else (CrossAttention, "cross_attention")
    return attention(
        hidden_size,
        num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        memory_size=memory_size,
        window=spec.window_of(layer),
        bias=spec.bias.model_dump(),
        scale=scale_of(spec, layer, head_dim * kinds),
        softcap=spec.softcap,
        query_norm=query_norm,
        key_norm=key_norm,
        distance=None if distance is None else _distance_scores(distance, hidden_size, num_heads, num_kv_heads, head_dim),
        dropout=spec.dropout or 0.0,
        rotary_layout=rotary_layout,
        output_stddev=output_stddev,
        name=name,
    )


def _distance_scores(spec: Disentangled, *sizes: int) -> DistanceScores:
    parts = {"content_to_position": spec.content_to_position, "position_to_content": spec.position_to_content}
    return DistanceScores(*sizes, shared=spec.share_key, name="distance", **parts)


def scale_of(spec: Attention, layer: int, summed: int) -> float:
    """What multiplies the products of queries and keys in that layer: by default 1 / sqrt(products in a sum)."""
    scale = summed**-0.5 if spec.scale is None else spec.scale
    return scale / (layer + 1) if spec.scale_by_layer else scale
