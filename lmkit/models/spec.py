"""A whole model in words: one stack of blocks, or another run's body."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from lmkit.attention.spec import Attention
from lmkit.blocks.spec import Dense, FeedForward, LayerNorm, Norm
from lmkit.positions.spec import Learned, NoPosition, Position, Rotary
from lmkit.spec import LISTED, ONE_OR_MORE, Count, PathText, Rate, Spec


def nearest_multiples(value: int, of: int) -> str:
    """The multiples of `of` on both sides of `value`, for an error message."""
    below = value // of * of
    return ", ".join(str(m) for m in (below, below + of) if m > 0)


class Stack(Spec):
    """What encoders and decoders share."""

    num_layers: Count = Field(le=10_000, description="Number of blocks.", examples=[6])
    hidden_size: Count = Field(description="Width of the residual stream.", examples=[384])
    num_heads: Count = Field(le=10_000, description="Query heads.", examples=[6])
    num_kv_heads: Count | None = Field(None, description="Key and value heads: fewer is grouped-query, 1 multi-query; default: num_heads.")
    head_dim: Count | None = Field(None, description="Width of a head; default: hidden_size / num_heads.")
    attention: Attention = Field(default_factory=Attention, description="Windows, biases and dropout of attention.")
    position: Annotated[tuple[Position, ...], ONE_OR_MORE] = Field(
        default_factory=lambda: (Learned(),), description="One position encoding, or a list with at most one per slot."
    )
    norm: Norm = Field(default_factory=LayerNorm, description="Normalization and where it stands.")
    feed_forward: FeedForward = Field(default_factory=Dense, description="The position-wise part of a block.")
    bias: bool | None = Field(None, description="Biases of projections; default: true with layer_norm, false with rms_norm.")
    dropout: Rate = Field(0.0, description="After embeddings, attention output and feed-forward output, and on attention probabilities.")
    embedding_norm: bool | None = Field(None, description="A norm after the embeddings; default: true iff norm.placement is post.")
    token_types: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Rows of the token-type table; default: 2 if a task sends pairs, else 0."
    )
    tie_embeddings: bool = Field(True, description="The output projection of a language-model head is the token embedding.")

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
        for i, position in enumerate(self.position):
            if isinstance(position, Rotary) and int(head_dim * position.fraction) % 2:
                part = f"head_dim = {head_dim}" if position.fraction == 1 else f"fraction = {position.fraction:g} of head_dim = {head_dim}"
                yield (
                    "position" if len(self.position) == 1 else f"position.{i}",
                    f"rotary turns pairs of channels, but {part} is odd; choose hidden_size / num_heads even",
                )

    def rule_pattern_fits_depth(self) -> Iterator[tuple[str, str]]:
        if len(self.attention.window) > self.num_layers:
            yield "attention.window", f"a pattern of {len(self.attention.window)} entries is longer than num_layers = {self.num_layers}"


class Encoder(Stack):
    """Every token sees the whole segment (BERT)."""

    kind: Literal["encoder"] = "encoder"


class Decoder(Stack):
    """Every token sees itself and what came before (GPT)."""

    kind: Literal["decoder"] = "decoder"


class FromRun(Spec):
    """The body of another run: its weights, its model words and its tokenizer."""

    from_: PathText = Field(alias="from", examples=["runs/base"], description="A run directory, relative to the working directory.")
    freeze: Annotated[tuple[str, ...], LISTED] = Field(
        (), description="Parts that stay as they are: `embeddings`, `layers.3`, `layers.0-5`, or any prefix of a variable path."
    )
    dropout: Rate | None = Field(None, description="Another dropout than the run was trained with.")
    body: Annotated[Encoder | Decoder, Field(discriminator="kind")] | None = Field(
        None, description="That run's own model words; lmkit fills them in, so that a run depends on nothing outside it."
    )


def _which(value: Any) -> str:
    if isinstance(value, dict):
        return "<from>" if "from" in value or "from_" in value else str(value.get("kind", "missing"))
    return "<from>" if isinstance(value, FromRun) else str(getattr(value, "kind", "missing"))


Model = Annotated[
    Annotated[Encoder, Tag("encoder")] | Annotated[Decoder, Tag("decoder")] | Annotated[FromRun, Tag("<from>")],
    Discriminator(_which),
]
