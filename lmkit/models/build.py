"""The door of models: a built backbone, with all its variables, from a stack's words."""

import math
from typing import Any, overload

from lmkit.attention.build import build_attention
from lmkit.attention.spec import Attention
from lmkit.blocks.build import build_feed_forward, build_norm
from lmkit.blocks.convolution import TokenConvolution
from lmkit.blocks.transformer import TransformerBlock
from lmkit.inputs.token import Embedding, TokenInput
from lmkit.layers.layer import Layer
from lmkit.models.backbone import Backbone
from lmkit.models.derive import look_across, resolved
from lmkit.models.encoder_decoder import EncoderDecoderBackbone
from lmkit.models.spec import Body, Decoder, Encoder, EncoderDecoder, Stack, stacks
from lmkit.positions.build import build_position
from lmkit.positions.spec import CustomPosition, Disentangled, Rotary

STDDEV = 0.02  # BERT's and GPT-2's


@overload
def build_backbone(spec: Encoder | Decoder, *, vocab_size: int, max_length: int, rematerialize: bool = False) -> Backbone: ...


@overload
def build_backbone(
    spec: EncoderDecoder, *, vocab_size: int, max_length: int, rematerialize: bool = False
) -> EncoderDecoderBackbone: ...  # fmt: skip


def build_backbone(spec: Body, *, vocab_size: int, max_length: int, rematerialize: bool = False) -> Backbone | EncoderDecoderBackbone:
    """The body, built under the dtype policy in force; its weights are zeros and ones until models/initialize.py fills them.

    Keys that the spec leaves open take the defaults of models/derive.py; a resolved spec has none.
    """
    common: dict[str, Any] = {"max_length": max_length, "rematerialize": rematerialize}
    if isinstance(spec, EncoderDecoder):
        backbone: Any = _both_sides(spec, vocab_size, common)
    else:
        backbone = build_stack(spec, vocab_size=vocab_size, name="backbone", **common)
    backbone.build()
    return backbone  # type: ignore[no-any-return]


def _both_sides(spec: EncoderDecoder, vocab_size: int, common: dict[str, Any]) -> EncoderDecoderBackbone:
    encoder, decoder = stacks(spec)
    width = encoder.embedding_size or encoder.hidden_size
    own = 0 if spec.shares_inputs else vocab_size
    return EncoderDecoderBackbone(
        encoder=build_stack(encoder, vocab_size=own, name="encoder", **common),
        decoder=build_stack(decoder, vocab_size=own, name="decoder", memory_size=encoder.hidden_size, **common),
        token=Embedding(vocab_size, width, name="token") if spec.shares_inputs else None,
        start_id=spec.start_id,
        name="backbone",
    )


def build_stack(
    spec: Encoder | Decoder, *, vocab_size: int, max_length: int, name: str, memory_size: int | None = None, rematerialize: bool = False
) -> Backbone:
    """One stack, unbuilt; `memory_size` is the width of the states that its blocks look at, None for a stack alone."""
    spec = resolved(spec, max_length=max_length)
    rotations = [spec.rotation_of(i) for i in range(spec.num_layers)]
    distinct = [rotation for i, rotation in enumerate(rotations) if rotation is not None and rotation not in rotations[:i]]
    slots = build_slots(spec, max_length=max_length, causal=spec.kind == "decoder")
    return Backbone(
        kind=spec.kind,
        embeddings=build_embeddings(spec, vocab_size=vocab_size, position=slots.get("embedding")),
        blocks=[build_block(spec, i, memory_size) for i in range(spec.distinct_layers)],
        order=[spec.weights_of(i) for i in range(spec.num_layers)],
        norm=build_norm(spec.norm, spec.hidden_size, name="norm") if spec.final_norm else None,
        rotaries=[build_rotary(spec, rotation, max_length) for rotation in distinct],
        turns=[-1 if rotation is None else distinct.index(rotation) for rotation in rotations],
        bias=slots.get("bias"),
        distance=slots.get("distance"),
        convolution=_convolution(spec),
        rematerialize=rematerialize,
        name=name,
    )


def build_slots(spec: Stack, *, max_length: int, causal: bool) -> dict[str, Layer]:
    """The position layers of a resolved stack by their slots, unbuilt."""
    width = spec.embedding_size if spec.embedding_size and spec.embedding_norm else spec.hidden_size
    sizes = {"embedding_size": width, "hidden_size": spec.hidden_size, "num_heads": spec.num_heads, "head_dim": spec.head_dim or 0}
    norm = build_norm(spec.norm, spec.hidden_size, name="norm")
    found: dict[str, Layer] = {}
    for position in spec.position:
        layer = build_position(position, max_length=max_length, causal=causal, norm=norm, **sizes)
        if layer is not None:
            found[position.slot if isinstance(position, CustomPosition) else layer.slot] = layer
    return found


def _convolution(spec: Encoder | Decoder) -> TokenConvolution | None:
    words = spec.convolution
    if words is None:
        return None
    norm = build_norm(spec.norm, spec.hidden_size, name="norm")
    return TokenConvolution(
        spec.hidden_size, words.kernel_size, norm=norm, activation=words.activation, dropout=spec.dropout, name="convolution"
    )


def build_rotary(spec: Encoder | Decoder, rotation: Rotary | CustomPosition, max_length: int) -> Layer:
    """One way to turn queries and keys, unbuilt."""
    sizes: dict[str, Any] = {"hidden_size": spec.hidden_size, "num_heads": spec.num_heads, "head_dim": spec.head_dim or 0}
    layer = build_position(rotation, max_length=max_length, causal=spec.kind == "decoder", **sizes)
    assert layer is not None
    return layer


def build_embeddings(spec: Stack, *, vocab_size: int, position: Layer | None) -> TokenInput:
    """What turns tokens into vectors, unbuilt."""
    scale = math.sqrt(spec.hidden_size) if spec.embedding_scale == "sqrt_hidden" else float(spec.embedding_scale or 1.0)
    width = spec.embedding_size or spec.hidden_size
    return TokenInput(
        vocab_size,
        spec.hidden_size,
        embedding_size=spec.embedding_size,
        scale=scale,
        token_types=spec.token_types or 0,
        position=position,
        norm=build_norm(spec.norm, width, name="norm") if spec.embedding_norm else None,
        dropout=spec.dropout,
        name="embeddings",
    )


def build_block(spec: Stack, i: int, memory_size: int | None = None) -> TransformerBlock:
    """Block number `i` of a resolved stack, unbuilt."""
    placement, parallel, hidden = spec.norm.placement, spec.parallel, spec.hidden_size
    sandwich = placement == "sandwich"
    output_stddev = STDDEV if placement == "post" else STDDEV / math.sqrt(2 * spec.num_layers)

    def norm(name: str, there: bool = True) -> Layer | None:
        return build_norm(spec.norm, hidden, name=name) if there else None

    crosses = memory_size is not None
    return TransformerBlock(
        attention=_attention(spec, i, output_stddev),
        attention_norm=norm("attention_norm", spec.norm.first or i > 0),
        attention_post_norm=norm("attention_post_norm", sandwich),
        cross_attention=_attention(spec, i, output_stddev, memory_size) if crosses else None,
        cross_attention_norm=norm("cross_attention_norm", crosses),
        cross_attention_post_norm=norm("cross_attention_post_norm", crosses and sandwich),
        feed_forward=build_feed_forward(spec.feed_forward_of(i), hidden_size=hidden, output_stddev=output_stddev),
        feed_forward_norm=norm("feed_forward_norm", parallel != "shared_norm"),
        feed_forward_post_norm=norm("feed_forward_post_norm", sandwich),
        placement=placement,
        parallel=parallel != "none",
        residual=spec.residual,
        residual_scale=spec.residual_scale,
        dropout=spec.dropout,
        name=str(i),
    )


def _attention(spec: Stack, i: int, output_stddev: float, memory_size: int | None = None) -> Layer:
    words = spec.attention if memory_size is None else look_across(spec)
    heads, head_dim = {"query": spec.num_heads, "key": spec.num_kv_heads or spec.num_heads}, spec.head_dim or 0
    norms = {}
    if isinstance(words, Attention) and words.qk_norm != "none":
        widths = {name: head_dim * (number if words.qk_norm == "full" else 1) for name, number in heads.items()}
        norms = {f"{name}_norm": build_norm(spec.norm, width, name=f"{name}_norm") for name, width in widths.items()}
    rotation = spec.rotation_of(i)
    distance = next((position for position in spec.position if isinstance(position, Disentangled)), None)
    return build_attention(
        words,
        i,
        hidden_size=spec.hidden_size,
        num_heads=spec.num_heads,
        num_kv_heads=heads["key"],
        head_dim=head_dim,
        rotary_layout=rotation.layout if isinstance(rotation, Rotary) else "half",
        output_stddev=output_stddev,
        bias=bool(spec.bias),
        memory_size=memory_size,
        distance=distance if memory_size is None else None,
        **norms,
    )
