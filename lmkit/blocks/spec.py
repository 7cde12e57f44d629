"""The words for a block's norm and feed-forward part."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lmkit.layers.spec import Custom
from lmkit.spec import Count, Spec, short

Placement = Literal["pre", "post", "sandwich", "branch_post"]
Parallel = Literal["none", "own_norms", "shared_norm"]
Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "relu_squared", "silu"]

PLACES = "Before the branch (pre), after the residual sum (post), before and after the branch (sandwich), or after it (branch_post)."
FIRST = "The first block has a norm before its attention."


class LayerNorm(Spec):
    """Layer normalization (Ba et al., 2016)."""

    kind: Literal["layer_norm"] = "layer_norm"
    placement: Placement = Field("pre", description=PLACES)
    epsilon: float = Field(1e-5, gt=0, lt=0.1, description="Added to the variance.")
    bias: bool = Field(True, description="A bias beside the scale.")
    first: bool = Field(True, description=FIRST)

    def rule_first(self) -> Iterator[tuple[str, str]]:
        yield from _first(self)


class RmsNorm(Spec):
    """Root-mean-square normalization without centring (Zhang and Sennrich, 2019)."""

    kind: Literal["rms_norm"] = "rms_norm"
    placement: Placement = Field("pre", description=PLACES)
    epsilon: float = Field(1e-6, gt=0, lt=0.1, description="Added to the mean square.")
    unit_offset: bool = Field(False, description="Multiply by 1 + scale, which starts from 0.")
    first: bool = Field(True, description=FIRST)

    def rule_first(self) -> Iterator[tuple[str, str]]:
        yield from _first(self)


class CustomNorm(Custom):
    """A norm of your own, over the last axis; its constructor takes `size`."""

    placement: Placement = Field("pre", description=PLACES)
    first: bool = Field(True, description=FIRST)

    given = ("size",)
    needed = ("size",)

    def rule_first(self) -> Iterator[tuple[str, str]]:
        yield from _first(self)


Norm = Annotated[LayerNorm | RmsNorm | CustomNorm, Field(discriminator="kind"), short()]


def _first(norm: LayerNorm | RmsNorm | CustomNorm) -> Iterator[tuple[str, str]]:
    if not norm.first and norm.placement != "pre":
        yield "first", f"false goes with placement: pre, not {norm.placement}"


class Dense(Spec):
    """Two projections with an activation between them."""

    kind: Literal["dense"] = "dense"
    intermediate_size: Count | None = Field(None, description="Width between the projections; default: 4 x hidden_size.")
    activation: Activation = Field("gelu", description="`gelu` is exact (erf), `gelu_tanh` the approximation of GPT-2.")
    bias: bool | None = Field(None, description="Biases of both projections; default: model.bias.")


class Gated(Spec):
    """activation(x W_gate) * (x W_up), then W_down (GLU variants, Shazeer 2020)."""

    kind: Literal["gated"] = "gated"
    intermediate_size: Count | None = Field(
        None, description="Width between the projections; default: 8/3 x hidden_size, to a multiple of 64."
    )
    activation: Activation = Field("silu", description="Activation of the gate.")
    bias: bool | None = Field(None, description="Biases of the three projections; default: model.bias.")


class Mixture(Spec):
    """Several feed-forward parts, of which a router picks a few for each token (Shazeer et al., 2017)."""

    kind: Literal["mixture"] = "mixture"
    num_experts: Count = Field(description="Feed-forward parts.", examples=[8])
    experts_per_token: Count = Field(description="How many of them work on a token.", examples=[2])
    renormalize: bool = Field(True, description="The weights of the chosen ones sum to 1.")
    intermediate_size: Count | None = Field(None, description="Width inside an expert; default: as dense or gated have it.")
    activation: Activation = Field("silu", description="Activation, or that of the gate.")
    gated: bool = Field(True, description="Experts are gated, not dense; neither has biases.")
    balance_weight: float = Field(
        0.01, ge=0, description="Weight in the training loss of what is lost when experts are used unevenly (Switch Transformer)."
    )

    def rule_enough_experts(self) -> Iterator[tuple[str, str]]:
        if self.experts_per_token > self.num_experts:
            yield "experts_per_token", f"{self.experts_per_token} is more than num_experts = {self.num_experts}"


class Convolution(Spec):
    """Neighbouring tokens of the embeddings, seen by the first block beside what attention shows (DeBERTa 2, He et al. 2021)."""

    kernel_size: Count = Field(description="Tokens that it reads, an odd number with the token itself in the middle.", examples=[3])
    activation: Activation | Literal["tanh"] = Field("tanh", description="Before it is added to the block's output, and the sum normed.")

    def rule_kernel_has_a_middle(self) -> Iterator[tuple[str, str]]:
        if self.kernel_size % 2 == 0:
            yield "kernel_size", f"{self.kernel_size} has no middle; write {self.kernel_size - 1} or {self.kernel_size + 1}"


class CustomFeedForward(Custom):
    """A feed-forward part of your own, [B, T, D] to [B, T, D]."""

    given = ("hidden_size", "output_stddev")


FeedForward = Annotated[Dense | Gated | Mixture | CustomFeedForward, Field(discriminator="kind"), short()]
