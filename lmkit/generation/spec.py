"""How a text is written: the likeliest token each time, a search, or draws."""

from typing import Annotated, Literal

from pydantic import Field

from lmkit.spec import Count, Fraction, Spec, short


class Decoding(Spec):
    """What all ways to write a text share; meanings follow transformers' generation settings."""

    max_new_tokens: Count | None = Field(None, description="Tokens of a written text at most; default: data.max_target_length.")
    min_new_tokens: Annotated[int, Field(ge=0)] = Field(0, description="No text ends before it has so many tokens.")
    no_repeat_ngram: Annotated[int, Field(ge=0)] = Field(0, description="No so many tokens in a row come twice; 0: they may.")
    repetition_penalty: float = Field(1.0, gt=0, description="Above 1, tokens that were there are less likely.")


class Greedy(Decoding):
    """The likeliest token each time."""

    kind: Literal["greedy"] = "greedy"


class Beam(Decoding):
    """A search for the likeliest text."""

    kind: Literal["beam"] = "beam"
    beams: Count = Field(4, ge=2, le=64, description="Texts that are held at once.")
    length_penalty: float = Field(1.0, description="The sum of log probabilities is divided by length to this power.")
    early_stopping: bool = Field(False, description="End when as many texts as beams are complete, not when no better one is likely.")


class Draw(Decoding):
    """Tokens drawn by their probabilities, the same for the same seed."""

    kind: Literal["sample"] = "sample"
    temperature: float = Field(1.0, gt=0, description="Below 1, likely tokens are likelier still.")
    top_k: Count | None = Field(None, description="Only so many of the likeliest tokens.")
    top_p: Fraction | None = Field(None, gt=0, le=1, description="Only the likeliest tokens that have this probability together.")
    min_p: Fraction | None = Field(None, gt=0, le=1, description="Only tokens at least this share as likely as the likeliest.")


AnyDecoding = Annotated[Greedy | Beam | Draw, Field(discriminator="kind"), short()]
