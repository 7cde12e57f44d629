"""How a model knows where a token stands; each kind fills one slot: embedding, rotation or bias."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lmkit.layers.spec import Custom
from lmkit.spec import LISTED, Count, Fraction, Spec, short

Slot = Literal["embedding", "rotation", "bias", ""]
Factor = Annotated[float, Field(ge=1)]


class NoPosition(Spec):
    """No position information (a causal decoder still sees order through its mask)."""

    kind: Literal["none"] = "none"
    slot: ClassVar[Slot] = ""


class Learned(Spec):
    """A trained vector for each position (BERT, GPT-2)."""

    kind: Literal["learned"] = "learned"
    slot: ClassVar[Slot] = "embedding"
    max_length: Count | None = Field(None, description="Rows of the table, in tokens, beside those of offset; default: data.max_length.")
    offset: Annotated[int, Field(ge=0)] = Field(0, description="Rows before that of the first position (OPT and BART 2, RoBERTa 2).")
    ids: Literal["all", "non_padding"] = Field("all", description="Which tokens count as places where no positions are given.")
    padding_id: Annotated[int, Field(ge=0)] | None = Field(None, description="The token that is no place, and the row it reads instead.")

    def rule_padding_is_known(self) -> Iterator[tuple[str, str]]:
        if self.ids == "non_padding" and self.padding_id is None:
            yield "ids", "non_padding needs to know the padding token; add padding_id: ..."
        if self.ids == "all" and self.padding_id is not None:
            yield "padding_id", "is read with ids: non_padding only; remove it or write that"

    def rule_padding_has_a_row(self) -> Iterator[tuple[str, str]]:
        if self.padding_id is not None and self.max_length is not None and self.padding_id >= self.offset + self.max_length:
            yield "padding_id", f"{self.padding_id} has no row in a table of {self.offset + self.max_length}"


class Sinusoidal(Spec):
    """Sines and cosines of geometric wavelengths ("Attention Is All You Need", section 3.5)."""

    kind: Literal["sinusoidal"] = "sinusoidal"
    slot: ClassVar[Slot] = "embedding"
    base: float = Field(10000.0, gt=1, description="Ratio of the longest to the shortest wavelength.")
    layout: Literal["interleaved", "half"] = Field("interleaved", description="Sine and cosine as neighbours, or all sines first.")


class NoScaling(Spec):
    """The angles of the base, at any length."""

    kind: Literal["none"] = "none"


class LinearScaling(Spec):
    """All frequencies divided by one factor (position interpolation, Chen et al. 2023)."""

    kind: Literal["linear"] = "linear"
    factor: Factor = Field(description="How many times longer texts become.", examples=[4.0])


class DynamicScaling(Spec):
    """The base grows with the length once that exceeds the original one (dynamic NTK); the longest row of a batch decides."""

    kind: Literal["dynamic"] = "dynamic"
    factor: Factor = Field(description="How fast the base grows.", examples=[4.0])
    original_max_length: Count = Field(description="Tokens up to which nothing changes.", examples=[2048])


class Llama3Scaling(Spec):
    """Long wavelengths divided by the factor, short ones kept, those between blended (Llama 3.1)."""

    kind: Literal["llama3"] = "llama3"
    factor: Factor = Field(description="How many times longer texts become.", examples=[8.0])
    low_frequency_factor: float = Field(1.0, gt=0, description="Wavelengths above original_max_length / this are divided.")
    high_frequency_factor: float = Field(4.0, gt=0, description="Wavelengths below original_max_length / this are kept.")
    original_max_length: Count = Field(description="Longest text of the original training, in tokens.", examples=[8192])

    def rule_bands_in_order(self) -> Iterator[tuple[str, str]]:
        if self.high_frequency_factor <= self.low_frequency_factor:
            yield (
                "high_frequency_factor",
                f"{self.high_frequency_factor:g} must exceed low_frequency_factor = {self.low_frequency_factor:g}",
            )


class YarnScaling(Spec):
    """Channels of many rotations kept, of few divided, a ramp between; larger scores for longer texts (YaRN, Peng et al. 2023)."""

    kind: Literal["yarn"] = "yarn"
    factor: Factor = Field(description="How many times longer texts become.", examples=[4.0])
    original_max_length: Count = Field(description="Longest text of the original training, in tokens.", examples=[4096])
    beta_fast: float = Field(32.0, gt=0, description="Rotations over the original length from which a channel is kept.")
    beta_slow: float = Field(1.0, gt=0, description="Rotations up to which it is divided by the factor.")
    attention_factor: float | None = Field(
        None, gt=0, description="Multiplies queries and keys; default: 0.1 ln(factor) + 1, or by mscale and mscale_all_dim."
    )
    mscale: float | None = Field(None, gt=0, description="In the default, the weight of ln(factor) above the line; with mscale_all_dim.")
    mscale_all_dim: float | None = Field(None, gt=0, description="And below the line.")
    truncate: bool = Field(True, description="The ramp begins and ends at whole channels.")

    def rule_ramp_in_order(self) -> Iterator[tuple[str, str]]:
        if self.beta_fast <= self.beta_slow:
            yield "beta_fast", f"{self.beta_fast:g} must exceed beta_slow = {self.beta_slow:g}"


class LongRopeScaling(Spec):
    """Each frequency divided by its own factor, one list for short texts and one for long (LongRoPE, Ding et al. 2024)."""

    kind: Literal["longrope"] = "longrope"
    short_factor: Annotated[tuple[Annotated[float, Field(gt=0)], ...], LISTED] = Field(
        min_length=1, description="For rows up to original_max_length: one for each rotated pair.", examples=[[1.0, 1.0]]
    )
    long_factor: Annotated[tuple[Annotated[float, Field(gt=0)], ...], LISTED] = Field(
        min_length=1, description="For longer rows; the longest of a batch decides.", examples=[[1.0, 4.0]]
    )
    original_max_length: Count = Field(description="Longest text of the original training, in tokens.", examples=[4096])
    attention_factor: float = Field(1.0, gt=0, description="Multiplies queries and keys.")


Scaling = Annotated[
    NoScaling | LinearScaling | DynamicScaling | Llama3Scaling | YarnScaling | LongRopeScaling, Field(discriminator="kind"), short()
]


class Rotary(Spec):
    """Rotates pairs of query and key channels by an angle proportional to the position (RoFormer)."""

    kind: Literal["rotary"] = "rotary"
    slot: ClassVar[Slot] = "rotation"
    base: float = Field(10000.0, gt=1, description="Ratio of the longest to the shortest wavelength.")
    fraction: Fraction = Field(1.0, gt=0, le=1, description="Share of each head's channels that is rotated.")
    layout: Literal["half", "interleaved"] = Field("half", description="Which channels pair up: i with i + half, or neighbours.")
    scaling: Scaling = Field(default_factory=NoScaling, description="How the angles change for texts longer than those trained on.")

    def channels(self, head_dim: int) -> int:
        """How many channels of a head are rotated."""
        return int(head_dim * self.fraction + 1e-6)


class Alibi(Spec):
    """A penalty on the scores, linear in the distance, with one slope a head (ALiBi)."""

    kind: Literal["alibi"] = "alibi"
    slot: ClassVar[Slot] = "bias"


class Relative(Spec):
    """A trained number for each head and bucket of distances, added to the scores; one table for all layers (T5)."""

    kind: Literal["relative"] = "relative"
    slot: ClassVar[Slot] = "bias"
    num_buckets: Annotated[Count, Field(ge=4)] = Field(32, description="Rows of the table; half of them for each side where both are seen.")
    max_distance: Count = Field(128, description="Distances from here on share the last bucket.")

    def rule_distances_exceed_buckets(self) -> Iterator[tuple[str, str]]:
        if self.max_distance <= self.num_buckets // 4:
            yield "max_distance", f"{self.max_distance} must exceed num_buckets / 4 = {self.num_buckets // 4}"


class Disentangled(Spec):
    """Scores of content with distance and distance with content beside those of content with content (DeBERTa, He et al. 2021)."""

    kind: Literal["disentangled"] = "disentangled"
    slot: ClassVar[Slot] = "bias"
    max_distance: Count = Field(512, description="Distances from here on are one.")
    buckets: Count | None = Field(None, description="Rows for each side, far distances in logarithmic steps; default: max_distance.")
    share_key: bool = Field(True, description="Distances are projected by the query and key kernels, not by their own.")
    content_to_position: bool = Field(True, description="Score the query with the distance.")
    position_to_content: bool = Field(True, description="Score the distance with the key.")
    norm: bool = Field(True, description="A norm over the table of distances.")

    def rule_something_is_scored(self) -> Iterator[tuple[str, str]]:
        if not (self.content_to_position or self.position_to_content):
            yield "content_to_position", "one of content_to_position and position_to_content must be true; or write position: none"

    def rule_distances_exceed_buckets(self) -> Iterator[tuple[str, str]]:
        if self.buckets is not None and (self.buckets < 4 or self.max_distance - 1 <= self.buckets // 2):
            yield "buckets", f"{self.buckets} must be 4 or more, and half of it below max_distance - 1 = {self.max_distance - 1}"


class CustomPosition(Custom):
    """A position encoding of your own."""

    slot: Literal["embedding", "rotation", "bias"] = Field(
        examples=["embedding"],
        description="Vectors added to the embeddings, a rotation of queries and keys, or a bias of the scores.",
    )

    given = ("embedding_size", "hidden_size", "num_heads", "head_dim", "max_length", "causal")


Position = Annotated[
    NoPosition | Learned | Sinusoidal | Rotary | Alibi | Relative | Disentangled | CustomPosition, Field(discriminator="kind"), short()
]


class DefaultRotation(Spec):
    """As `position` says."""

    kind: Literal["default"] = "default"


Rotation = Annotated[DefaultRotation | NoPosition | Rotary, Field(discriminator="kind"), short()]
