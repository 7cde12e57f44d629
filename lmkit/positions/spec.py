"""How a model knows where a token stands; each kind fills one slot: embedding, rotation or bias."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lmkit.spec import Count, Fraction, Spec, short

Slot = Literal["embedding", "rotation", "bias", ""]


class NoPosition(Spec):
    """No position information (a causal decoder still sees order through its mask)."""

    kind: Literal["none"] = "none"
    slot: ClassVar[Slot] = ""


class Learned(Spec):
    """A trained vector for each position (BERT, GPT-2)."""

    kind: Literal["learned"] = "learned"
    slot: ClassVar[Slot] = "embedding"
    max_length: Count | None = Field(None, description="Rows of the table, in tokens; default: data.max_length.")


class Sinusoidal(Spec):
    """Sines and cosines of geometric wavelengths ("Attention Is All You Need", section 3.5)."""

    kind: Literal["sinusoidal"] = "sinusoidal"
    slot: ClassVar[Slot] = "embedding"
    base: float = Field(10000.0, gt=1, description="Ratio of the longest to the shortest wavelength.")


class Rotary(Spec):
    """Rotates pairs of query and key channels by an angle proportional to the position (RoFormer)."""

    kind: Literal["rotary"] = "rotary"
    slot: ClassVar[Slot] = "rotation"
    base: float = Field(10000.0, gt=1, description="Ratio of the longest to the shortest wavelength.")
    fraction: Fraction = Field(1.0, gt=0, le=1, description="Share of each head's channels that is rotated.")
    layout: Literal["half", "interleaved"] = Field("half", description="Which channels pair up: i with i + half, or neighbours.")


class Alibi(Spec):
    """A penalty on the scores, linear in the distance, with one slope a head (ALiBi)."""

    kind: Literal["alibi"] = "alibi"
    slot: ClassVar[Slot] = "bias"


Position = Annotated[NoPosition | Learned | Sinusoidal | Rotary | Alibi, Field(discriminator="kind"), short()]
