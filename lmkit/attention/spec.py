"""Which keys a query may see, and how the scores are treated."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from lmkit.layers.spec import Custom
from lmkit.positions.spec import DefaultRotation, Rotation
from lmkit.spec import ONE_OR_MORE, Also, Count, Rate, Spec

Window = Literal["full"] | Count
PROJECTIONS = ("query", "key", "value", "output")


class Biases(Spec):
    """Which projections of attention have a bias; `true` or `false` stands for all four."""

    query: bool | None = Field(None, description="Default: model.bias.")
    key: bool | None = Field(None, description="Default: model.bias.")
    value: bool | None = Field(None, description="Default: model.bias.")
    output: bool | None = Field(None, description="Default: model.bias.")

    def any(self) -> bool:
        """Whether there is one at all."""
        return any(getattr(self, name) for name in PROJECTIONS)


def _four(value: Any) -> Any:
    if isinstance(value, bool):
        return dict.fromkeys(PROJECTIONS, value)
    if value is not None and not isinstance(value, dict | Biases):
        raise ValueError(f"expected true, false or a mapping of {', '.join(PROJECTIONS)}")
    return {} if value is None else value


class Reach(Spec):
    """What every attention is given: which keys a query sees, how both are turned, and dropout."""

    window: Annotated[tuple[Window, ...], ONE_OR_MORE] = Field(
        ("full",),
        description="Keys a query sees, in tokens: causal, itself and the window - 1 before it; otherwise window to each side. "
        "A list is a pattern repeated over the layers.",
    )
    rotary: Annotated[tuple[Rotation, ...], ONE_OR_MORE] = Field(
        default_factory=lambda: (DefaultRotation(),),
        description="Rotation of queries and keys: as position says, none, or another. A list is a pattern repeated over the layers.",
    )
    dropout: Rate | None = Field(None, description="Dropout of the attention probabilities; default: model.dropout.")

    def window_of(self, layer: int) -> int | None:
        """The window of that layer: the pattern repeated over depth; None sees all."""
        window = self.window[layer % len(self.window)]
        return None if window == "full" else window

    def rotary_of(self, layer: int) -> Rotation:
        """The rotation of that layer: the pattern repeated over depth."""
        return self.rotary[layer % len(self.rotary)]


class Attention(Reach):
    """Multi-head attention; head counts stand beside `hidden_size` in the model."""

    kind: Literal["multi_head"] = "multi_head"
    bias: Annotated[Biases, Also(_four, lambda first: {"type": ["boolean", "null"]})] = Field(
        default_factory=Biases, description="Biases of the four projections; default: model.bias."
    )
    scale: float | None = Field(None, gt=0, description="Multiplies the products of queries and keys; default: head_dim^-0.5.")
    scale_by_layer: bool = Field(False, description="Divide the scores of layer i, counted from 1, by i as well.")
    softcap: float | None = Field(None, gt=0, description="Scores x become softcap * tanh(x / softcap) before bias and mask; default: off.")
    qk_norm: Literal["none", "head", "full"] = Field(
        "none", description="A norm of the model's kind on queries and keys: over each head, or over all heads together."
    )


class CustomAttention(Reach, Custom):
    """Attention of your own; where a decoder looks at an encoder, the look across is multi-head."""

    given = ("hidden_size", "num_heads", "num_kv_heads", "head_dim", "window", "bias", "dropout", "rotary_layout", "output_stddev")
    needed = ("num_kv_heads", "head_dim", "window")


def _kind(value: Any) -> Any:
    return value.get("kind", "multi_head") if isinstance(value, dict) else getattr(value, "kind", "multi_head")


AnyAttention = Annotated[Annotated[Attention, Tag("multi_head")] | Annotated[CustomAttention, Tag("custom")], Discriminator(_kind)]
