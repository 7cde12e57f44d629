"""The door of attention: one layer's attention from the words for all layers."""

from lmkit.attention.cross import CrossAttention
from lmkit.attention.multi_head import MultiHeadAttention
from lmkit.attention.spec import Attention
from lmkit.layers.layer import Layer
from lmkit.positions.rotary import Layout


def build_attention(
    spec: Attention,
    layer: int,
    *,
    hidden_size: int,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    rotary_layout: Layout,
    output_stddev: float,
    query_norm: Layer | None = None,
    key_norm: Layer | None = None,
    memory_size: int | None = None,
) -> MultiHeadAttention:
    """The attention of layer number `layer`, unbuilt; `spec.bias` and `spec.dropout` are resolved.

    With `memory_size`, the one that reads states of that width.
    """
    attention, name = (MultiHeadAttention, "attention") if memory_size is None else (CrossAttention, "cross_attention")
    return attention(
        hidden_size,
        num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        memory_size=memory_size,
        window=spec.window_of(layer),
        bias=spec.bias.model_dump(),
        scale=scale_of(spec, layer, head_dim),
        softcap=spec.softcap,
        query_norm=query_norm,
        key_norm=key_norm,
        dropout=spec.dropout or 0.0,
        rotary_layout=rotary_layout,
        output_stddev=output_stddev,
        name=name,
    )


def scale_of(spec: Attention, layer: int, head_dim: int) -> float:
    """What multiplies the products of queries and keys in that layer."""
    scale = head_dim**-0.5 if spec.scale is None else spec.scale
    return scale / (layer + 1) if spec.scale_by_layer else scale
