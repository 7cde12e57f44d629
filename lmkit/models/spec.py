"""A whole model in words: one stack of blocks, or another run's body."""

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from annotated_types import BaseMetadata, GroupedMetadata
from pydantic import Discriminator, Field, Tag, create_model

from lmkit.attention.spec import AnyAttention, Attention
from lmkit.blocks.spec import Activation, Convolution, Dense, FeedForward, LayerNorm, Norm, Parallel
from lmkit.positions.spec import CustomPosition, DefaultRotation, Learned, LongRopeScaling, NoPosition, Position, Rotary
from lmkit.spec import LISTED, ONE_OR_MORE, Amount, Count, PathText, Rate, Spec, units


def nearest_multiples(value: int, of: int) -> str:
    """The multiples of `of` on both sides of `value`, for an error message."""
    below = value // of * of
    return ", ".join(str(m) for m in (below, below + of) if m > 0)


class Output(Spec):
    """How heads over the vocabulary turn hidden states into logits: softcap(scale * x W + bias)."""

    bias: bool | None = Field(None, description="A bias for each token; default: true for masked_lm, else false.")
    train_bias: bool = Field(True, description="That bias learns (BART's does not).")
    scale: float = Field(1.0, gt=0, description="Factor of the logits (T5: hidden_size^-0.5).")
    softcap: float | None = Field(None, gt=0, description="Logits are squeezed into (-softcap, softcap) by tanh (Gemma 2).")
    transform_activation: Activation | None = Field(
        None, description="Activation of a masked-LM or replaced-token head's transform; default: that of the first feed-forward part."
    )
    transform_bias: bool = Field(True, description="That transform has a bias.")
    transform_epsilon: float | None = Field(None, gt=0, description="Epsilon of a masked-LM head's norm; default: norm.epsilon.")


class Stack(Spec):
    """What encoders and decoders share."""

    num_layers: Count = Field(le=10_000, description="Number of blocks.", examples=[6])
    hidden_size: Count = Field(description="Width of the residual stream.", examples=[384])
    num_heads: Count = Field(le=10_000, description="Query heads.", examples=[6])
    num_kv_heads: Count | None = Field(None, description="Key and value heads: fewer is grouped-query, 1 multi-query; default: num_heads.")
    head_dim: Count | None = Field(None, description="Width of a head; default: hidden_size / num_heads.")
    attention: AnyAttention = Field(default_factory=Attention, description="Windows, biases and dropout of attention.")
    position: Annotated[tuple[Position, ...], ONE_OR_MORE] = Field(
        default_factory=lambda: (Learned(),), description="One position encoding, or a list with at most one per slot."
    )
    norm: Norm = Field(default_factory=LayerNorm, description="Normalization and where it stands.")
    feed_forward: Annotated[tuple[FeedForward, ...], ONE_OR_MORE] = Field(
        default_factory=lambda: (Dense(),), description="The position-wise part of a block. A list is a pattern repeated over the layers."
    )
    parallel: Parallel = Field(
        "none", description="Attention and feed-forward part read the same stream: each through its own norm, or through a shared one."
    )
    residual: Literal["stream", "norm"] = Field("stream", description="What a branch is added to: the stream, or its norm.")
    residual_scale: float = Field(1.0, gt=0, description="Multiplies each branch before it is added.")
    final_norm: bool | None = Field(None, description="A norm after the last block; default: true unless norm.placement is post.")
    bias: bool | None = Field(None, description="Biases of projections; default: true with layer_norm, false with rms_norm.")
    dropout: Rate = Field(0.0, description="After embeddings, attention output and feed-forward output, and on attention probabilities.")
    embedding_norm: bool | None = Field(None, description="A norm after the embeddings; default: true iff norm.placement is post.")
    token_types: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Rows of the token-type table; default: 2 if a task sends pairs, else 0."
    )
    embedding_size: Count | None = Field(
        None, description="Width of the embeddings, which a projection takes to hidden_size; default: hidden_size, without a projection."
    )
    embedding_scale: Annotated[float, Field(gt=0)] | Literal["sqrt_hidden"] | None = Field(
        None, description="Multiplies token embeddings: a number, or the square root of hidden_size; default: off."
    )
    convolution: Convolution | None = Field(
        None, description="A convolution of the embeddings beside the first block, whose output with it is normed; default: none."
    )
    layer_groups: Count | None = Field(None, description="Groups of neighbouring layers that share their weights; default: none share.")
    blocks_per_group: Count = Field(1, description="Blocks with weights of their own in a group, run one after another each time.")
    tie_embeddings: bool = Field(True, description="The output projection of a language-model head is the token embedding.")
    output: Output = Field(default_factory=Output, description="How heads over the vocabulary make logits.")

    def rule_heads_divide_width(self) -> Iterator[tuple[str, str]]:
        if self.head_dim is None and self.hidden_size % self.num_heads:
            near = nearest_multiples(self.hidden_size, self.num_heads)
            yield "hidden_size", f"{self.hidden_size} is not divisible by num_heads = {self.num_heads}; nearest: {near}"

    def rule_kv_heads_divide_heads(self) -> Iterator[tuple[str, str]]:
        if self.num_kv_heads is not None and self.num_heads % self.num_kv_heads:
            fitting = ", ".join(str(n) for n in range(1, self.num_heads + 1) if self.num_heads % n == 0)
            yield "num_kv_heads", f"{self.num_kv_heads} does not divide num_heads = {self.num_heads}; possible: {fitting}"

    def rule_one_position_per_slot(self) -> Iterator[tuple[str, str]]:
        slots: dict[str, str] = {}
        for i, position in enumerate(self.position):
            key = "position" if len(self.position) == 1 else f"position.{i}"
            if position.slot in slots:
                yield key, f"{position.kind} and {slots[position.slot]} both fill the {position.slot} slot; keep one"
            elif isinstance(position, NoPosition) and len(self.position) > 1:
                yield key, "none cannot be combined with another position encoding; remove it"
            slots[position.slot] = position.kind

    def rule_rotary_turns_pairs(self) -> Iterator[tuple[str, str]]:
        head_dim = self.head_dim or self.hidden_size // self.num_heads
        lone = len(self.position) == 1
        places: list[tuple[str, Spec]] = [("position" if lone else f"position.{i}", position) for i, position in enumerate(self.position)]
        places += [(f"attention.rotary.{i}", rotation) for i, rotation in enumerate(self.attention.rotary)]
        for key, rotary in places:
            if not isinstance(rotary, Rotary):
                continue
            channels = rotary.channels(head_dim)
            if channels % 2:
                part = f"head_dim = {head_dim}" if rotary.fraction == 1 else f"fraction = {rotary.fraction:g} of head_dim = {head_dim}"
                yield key, f"rotary turns pairs of channels, but {part} is odd; choose hidden_size / num_heads even"
            elif not channels:
                yield key, f"fraction = {rotary.fraction:g} of head_dim = {head_dim} rotates no channel; write {2 / head_dim:.4g} or more"
            elif isinstance(rotary.scaling, LongRopeScaling):
                for name in ("short_factor", "long_factor"):
                    length = len(getattr(rotary.scaling, name))
                    if length != channels // 2:
                        yield f"{key}.scaling.{name}", f"{length} factors for the {channels // 2} pairs that are rotated"

    def rule_patterns_fit_depth(self) -> Iterator[tuple[str, str]]:
        patterns = {"attention.window": self.attention.window, "attention.rotary": self.attention.rotary, "feed_forward": self.feed_forward}
        for key, pattern in patterns.items():
            if len(pattern) > self.num_layers:
                yield key, f"a pattern of {len(pattern)} entries is longer than num_layers = {self.num_layers}"
            elif len(pattern) > 1 and self.layer_groups is not None:
                yield key, "layers that share weights (layer_groups) are alike; write one entry"

    def rule_groups_fill_layers(self) -> Iterator[tuple[str, str]]:
        if self.layer_groups is None:
            if self.blocks_per_group > 1:
                yield "blocks_per_group", "goes with layer_groups; add layer_groups: 1 or more"
            return
        if self.num_layers % self.blocks_per_group:
            near = nearest_multiples(self.num_layers, self.blocks_per_group)
            yield "num_layers", f"{self.num_layers} is not divisible by blocks_per_group = {self.blocks_per_group}; nearest: {near}"
        elif self.layer_groups > self.num_layers // self.blocks_per_group:
            yield "layer_groups", f"{self.layer_groups} groups of {self.blocks_per_group} are more than num_layers = {self.num_layers}"
        if isinstance(self.attention, Attention) and self.attention.scale_by_layer:
            yield "attention.scale_by_layer", "layers that share weights (layer_groups) are alike; write false"

    def rule_branches_have_their_norm(self) -> Iterator[tuple[str, str]]:
        if self.norm.placement != "pre":
            if self.parallel != "none":
                yield "parallel", f"{self.parallel} goes with norm.placement: pre, not {self.norm.placement}"
            if self.residual == "norm":
                yield "residual", f"norm goes with norm.placement: pre, not {self.norm.placement}"
        elif self.residual == "norm" and self.parallel != "none":
            yield "residual", f"norm goes with parallel: none, not {self.parallel}"
        elif self.residual == "norm" and not self.norm.first:
            yield "residual", "norm needs norm.first: true"
        elif self.parallel == "shared_norm" and not self.norm.first:
            yield "parallel", "shared_norm needs norm.first: true"

    def rotation_of(self, layer: int) -> Rotary | CustomPosition | None:
        """How that layer turns queries and keys: the pattern of attention.rotary over depth, `default` being that of position."""
        own = self.attention.rotary_of(layer)
        if isinstance(own, DefaultRotation):
            turning = (one for one in self.position if isinstance(one, Rotary | CustomPosition))
            return next((one for one in turning if one.slot == "rotation"), None)
        return own if isinstance(own, Rotary) else None

    def feed_forward_of(self, layer: int) -> FeedForward:
        """The feed-forward part of that layer: the pattern repeated over depth."""
        return self.feed_forward[layer % len(self.feed_forward)]

    @property
    def distinct_layers(self) -> int:
        """How many blocks have weights of their own."""
        return self.num_layers if self.layer_groups is None else self.layer_groups * self.blocks_per_group

    def weights_of(self, layer: int) -> int:
        """The number of the block whose weights executed layer `layer` uses (ALBERT's sharing)."""
        if self.layer_groups is None:
            return layer
        inner = self.blocks_per_group
        return int((layer // inner) / (self.num_layers / inner / self.layer_groups)) * inner + layer % inner


class Encoder(Stack):
    """Every token sees the whole segment (BERT)."""

    kind: Literal["encoder"] = "encoder"


class Decoder(Stack):
    """Every token sees itself and what came before (GPT)."""

    kind: Literal["decoder"] = "decoder"

    def rule_convolution_is_for_encoders(self) -> Iterator[tuple[str, str]]:
        if self.convolution is not None:
            yield "convolution", "reads tokens that follow, which a decoder does not see; remove it, or write it under encoder"


SIDES: tuple[Literal["encoder", "decoder"], ...] = ("encoder", "decoder")
SHARED = tuple(name for name in Stack.model_fields if name != "tie_embeddings")


def _maybe(name: str) -> Any:
    """The key of a stack as one that may be left out, with the same limits."""
    field = Stack.model_fields[name]
    limits = [limit for limit in field.metadata if isinstance(limit, GroupedMetadata | BaseMetadata)]
    annotation = get_type_hints(Stack, include_extras=True)[name]
    return (Annotated[annotation, *limits] if limits else annotation) | None, Field(None, description=field.description)


class Side(create_model("Side", __base__=Spec, **{name: _maybe(name) for name in SHARED})):  # type: ignore[misc]
    """What one side of an encoder-decoder has for itself; a key left out is the model's."""


def _laid(base: Any, over: Any) -> Any:
    """`over` on top of `base`, key by key where both are branches of one kind."""
    if not isinstance(over, Spec) or type(over) is not type(base):
        return over
    return base.model_copy(update={key: _laid(getattr(base, key), getattr(over, key)) for key in over.model_fields_set})


class EncoderDecoder(Stack):
    """An encoder reads one text, a decoder that looks at what it made of it writes another (Transformer, T5, BART).

    The keys of a stack stand for both sides.
    """

    kind: Literal["encoder_decoder"] = "encoder_decoder"
    num_layers: Count | None = Field(None, le=10_000, description="Number of blocks of each side.", examples=[6])  # type: ignore[assignment]
    tie_embeddings: Literal["all", "inputs", "output", "none"] = Field(  # type: ignore[assignment]
        "all",
        description="Which share one table: both sides' tokens and the output projection, both sides' tokens, "
        "the decoder's tokens and the output projection, or none.",
    )
    start_id: Annotated[int, Field(ge=0)] | None = Field(
        None, description="The token that a decoder begins with; where it reads the encoder's text, it reads that behind this."
    )
    encoder: Side = Field(default_factory=Side, description="What the encoder has for itself.")
    decoder: Side = Field(default_factory=Side, description="What the decoder has for itself.")

    @property
    def shares_inputs(self) -> bool:
        """Whether both sides read their tokens from one table."""
        return self.tie_embeddings in ("all", "inputs")

    def side(self, name: Literal["encoder", "decoder"]) -> Encoder | Decoder:
        """The words of one side as a stack; the decoder's `tie_embeddings` says whether its table is the output projection."""
        own = getattr(self, name)
        words = {key: getattr(self, key) if getattr(own, key) is None else _laid(getattr(self, key), getattr(own, key)) for key in SHARED}
        tied = self.tie_embeddings in ("all", "output")
        return (Encoder if name == "encoder" else Decoder).model_construct(**words, tie_embeddings=tied)

    def key_of(self, name: Literal["encoder", "decoder"], key: str) -> str:
        """Where a side's dotted key is written: under its name, or in the model for both."""
        return key if getattr(getattr(self, name), key.split(".")[0]) is None else f"{name}.{key}"

    def rules(self) -> Iterator[Callable[[], Iterable[tuple[str, str]]]]:
        """Those of a stack are for the sides, which may differ from what stands here."""
        yield from (getattr(self, name) for name in vars(EncoderDecoder) if name.startswith("rule_"))

    def rule_sides_have_layers(self) -> Iterator[tuple[str, str]]:
        for name in SIDES:
            if self.num_layers is None and getattr(self, name).num_layers is None:
                yield name, f"missing num_layers; add num_layers: 6 here, or under {name}"

    def rule_sides_are_stacks(self) -> Iterator[tuple[str, str]]:
        if any(self.side(name).num_layers is None for name in SIDES):
            return
        yield from dict.fromkeys((self.key_of(name, key), what) for name in SIDES for key, what in self.side(name).problems())

    def rule_shared_tables_have_one_width(self) -> Iterator[tuple[str, str]]:
        encoder, decoder = (side.embedding_size or side.hidden_size for side in map(self.side, SIDES))
        if self.shares_inputs and encoder != decoder:
            what = f"{self.tie_embeddings} shares one table, but it is {encoder} wide in the encoder and {decoder} in the decoder"
            yield "tie_embeddings", f"{what}; write output or none"

    def rule_decoder_blocks_have_three_parts(self) -> Iterator[tuple[str, str]]:
        if self.side("decoder").parallel != "none":
            yield (
                self.key_of("decoder", "parallel"),
                "the decoder's parts, one of which looks at the encoder, stand one after another; write none",
            )


Body = Encoder | Decoder | EncoderDecoder
M = TypeVar("M", bound=Stack)


class FromRun(Spec):
    """The body of another run: its weights, its model words and its tokenizer; or of another spec, without weights."""

    from_: PathText = Field(
        alias="from",
        examples=["runs/base"],
        description="A run directory, Hugging Face folder or keras-hub preset, relative to the working directory; or the YAML file of "
        "another spec, relative to this one, whose model is declared here with its tokenizer, any key over it and new weights.",
    )
    freeze: Annotated[tuple[str, ...], LISTED] = Field(
        (), description="Parts that stay as they are: `embeddings`, `layers.3`, `layers.0-5`, or any prefix of a variable path."
    )
    reinitialize: Annotated[tuple[str, ...], LISTED] = Field(
        (), description="Parts that begin anew, named likewise: the last layers know most of what was learned before (Zhang et al., 2021)."
    )
    unfreeze_every: Annotated[Amount, units("steps", "epochs", "fraction")] | None = Field(
        None,
        description="Gradual unfreezing (Howard and Ruder, 2018): heads learn from the start, and after each such time one more layer "
        "from the top, the embeddings last; default: all learn at once.",
    )
    dropout: Rate | None = Field(None, description="Another dropout than the run was trained with.")
    body: Annotated[Body, Field(discriminator="kind")] | None = Field(
        None, description="That run's own model words; lmkit fills them in, so that a run depends on nothing outside it."
    )

    def rule_layers_unfreeze_after_some_time(self) -> Iterator[tuple[str, str]]:
        if self.unfreeze_every is not None and self.unfreeze_every.value <= 0:
            yield "unfreeze_every", "is no time; write 1 steps or more, or remove it: then all learn at once"


def stacks(model: Body) -> tuple[Encoder | Decoder, ...]:
    """The stacks that a body is made of, in the order in which a text goes through them."""
    return tuple(map(model.side, SIDES)) if isinstance(model, EncoderDecoder) else (model,)


def with_dropout(model: M, rate: float) -> M:
    """The same body with one dropout everywhere."""
    changes: dict[str, Any] = {"dropout": rate, "attention": model.attention.model_copy(update={"dropout": rate})}
    if isinstance(model, EncoderDecoder):
        for name in SIDES:
            own = getattr(model, name)
            attention = own.attention and own.attention.model_copy(update={"dropout": rate})
            changes[name] = own.model_copy(update={"dropout": rate, "attention": attention})
    return model.model_copy(update=changes)


def _which(value: Any) -> str:
    if isinstance(value, dict):
        return "<from>" if "from" in value or "from_" in value else str(value.get("kind", "missing"))
    return "<from>" if isinstance(value, FromRun) else str(getattr(value, "kind", "missing"))


Model = Annotated[
    Annotated[Encoder, Tag("encoder")]
    | Annotated[Decoder, Tag("decoder")]
    | Annotated[EncoderDecoder, Tag("encoder_decoder")]
    | Annotated[FromRun, Tag("<from>")],
    Discriminator(_which),
]
