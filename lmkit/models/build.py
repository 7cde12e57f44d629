"""The door of models: a built backbone, with all its variables, from a stack's words."""

import math

from lmkit.attention.build import build_attention
from lmkit.blocks.build import build_feed_forward, build_norm
from lmkit.blocks.transformer import TransformerBlock
from lmkit.inputs.token import TokenInput
from lmkit.models.backbone import Backbone
from lmkit.models.derive import resolved
from lmkit.models.spec import Decoder, Encoder
from lmkit.positions.build import build_position

STDDEV = 0.02  # BERT's and GPT-2's


def build_backbone(spec: Encoder | Decoder, *, vocab_size: int, max_length: int, rematerialize: bool = False) -> Backbone:
    """The body, built under the dtype policy in force; its weights are zeros and ones until models/initialize.py fills them.

    Keys that the spec leaves open take the defaults of models/derive.py; a resolved spec has none.
    """
    spec = resolved(spec, max_length=max_length)
    head_dim = spec.head_dim or spec.hidden_size // spec.num_heads
    sizes = {"hidden_size": spec.hidden_size, "num_heads": spec.num_heads, "head_dim": head_dim}
    layers = [build_position(position, max_length=max_length, **sizes) for position in spec.position]
    slots = {layer.slot: layer for layer in layers if layer is not None}
    rotary = slots.get("rotation")
    pre = spec.norm.placement == "pre"
    output_stddev = STDDEV / math.sqrt(2 * spec.num_layers) if pre else STDDEV
    blocks = [
        TransformerBlock(
            attention=build_attention(
                spec.attention,
                i,
                num_kv_heads=spec.num_kv_heads or spec.num_heads,
                rotary_layout=rotary.layout if rotary else "half",
                output_stddev=output_stddev,
                **sizes,
            ),
            attention_norm=build_norm(spec.norm, spec.hidden_size, name="attention_norm"),
            feed_forward=build_feed_forward(spec.feed_forward_of(i), hidden_size=spec.hidden_size, output_stddev=output_stddev),
            feed_forward_norm=build_norm(spec.norm, spec.hidden_size, name="feed_forward_norm"),
            placement=spec.norm.placement,  # type: ignore[arg-type]
            dropout=spec.dropout,
            name=str(i),
        )
        for i in range(spec.num_layers)
    ]
    embeddings = TokenInput(
        vocab_size,
        spec.hidden_size,
        token_types=spec.token_types or 0,
        position=slots.get("embedding"),
        norm=build_norm(spec.norm, spec.hidden_size, name="norm") if spec.embedding_norm else None,
        dropout=spec.dropout,
        name="embeddings",
    )
    backbone = Backbone(
        kind=spec.kind,
        embeddings=embeddings,
        blocks=blocks,
        norm=build_norm(spec.norm, spec.hidden_size, name="norm") if spec.final_norm else None,
        rotary=rotary,
        alibi=slots.get("bias"),
        rematerialize=rematerialize,
        name="backbone",
    )
    backbone.build()
    return backbone
