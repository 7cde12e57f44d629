"""The door of attention: one layer's attention from the words for all layers."""

from lmkit.attention.multi_head import MultiHeadAttention
from lmkit.attention.spec import Attention
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
) -> MultiHeadAttention:
    """The attention of layer number `layer`, unbuilt; `spec.bias` and `spec.dropout` are resolved."""
    return MultiHeadAttention(
        hidden_size,
        num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        window=spec.window_of(layer),
        bias=spec.bias.any(),
        dropout=spec.dropout or 0.0,
        rotary_layout=rotary_layout,
        output_stddev=output_stddev,
        name="attention",
    )
