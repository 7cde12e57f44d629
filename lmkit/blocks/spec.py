"""The words for a block's norm and feed-forward part."""

from typing import Annotated, Literal

from pydantic import Field

from lmkit.spec import Count, Spec, short

Placement = Literal["pre", "post"]
Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "relu_squared", "silu"]


class LayerNorm(Spec):
    """Layer normalization (Ba et al., 2016)."""

    kind: Literal["layer_norm"] = "layer_norm"
    placement: Placement = Field("pre", description="Before the branch (GPT-2) or after the residual sum (BERT).")
    epsilon: float = Field(1e-5, gt=0, lt=0.1, description="Added to the variance.")


class RmsNorm(Spec):
    """Root-mean-square normalization without centring (Zhang and Sennrich, 2019)."""

    kind: Literal["rms_norm"] = "rms_norm"
    placement: Placement = Field("pre", description="Before the branch or after the residual sum.")
    epsilon: float = Field(1e-6, gt=0, lt=0.1, description="Added to the mean square.")


Norm = Annotated[LayerNorm | RmsNorm, Field(discriminator="kind"), short()]


class Dense(Spec):
    """Two projections with an activation between them."""

    kind: Literal["dense"] = "dense"
    intermediate_size: Count | None = Field(None, description="Width between the projections; default: 4 x hidden_size.")
    activation: Activation = Field("gelu", description="`gelu` is exact (erf), `gelu_tanh` the approximation of GPT-2.")


class Gated(Spec):
    """activation(x W_gate) * (x W_up), then W_down (GLU variants, Shazeer 2020)."""

    kind: Literal["gated"] = "gated"
    intermediate_size: Count | None = Field(
        None, description="Width between the projections; default: 8/3 x hidden_size, to a multiple of 64."
    )
    activation: Activation = Field("silu", description="Activation of the gate.")


FeedForward = Annotated[Dense | Gated, Field(discriminator="kind"), short()]
