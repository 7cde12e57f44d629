"""The position-wise part of a block: two projections, or three with a gate (GLU variants, Shazeer 2020)."""

from typing import Any

from lmkit.layers.activations import activation
from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear


class DenseFeedForward(Layer):
    """activation(x W_up + b) W_down + b."""

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        *,
        activation: str = "gelu",
        bias: bool = True,
        output_stddev: float = 0.02,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.intermediate_size, self.activation, self.bias = hidden_size, intermediate_size, activation, bias
        self.output_stddev = output_stddev
        self.up, self.down = _up_and_down(self)

    def build(self, input_shape: Any = None) -> None:
        self.up.build()
        self.down.build()

    def call(self, x_BTD: Any) -> Any:
        return self.down(activation(self.activation)(self.up(x_BTD)))


class GatedFeedForward(Layer):
    """(activation(x W_gate) * (x W_up)) W_down."""

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        *,
        activation: str = "silu",
        bias: bool = False,
        output_stddev: float = 0.02,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.intermediate_size, self.activation, self.bias = hidden_size, intermediate_size, activation, bias
        self.output_stddev = output_stddev
        self.up, self.down = _up_and_down(self)
        self.gate = Linear(hidden_size, intermediate_size, bias=bias, axes=("hidden", "feed_forward"), name="gate", dtype=self.dtype_policy)

    def build(self, input_shape: Any = None) -> None:
        self.gate.build()
        self.up.build()
        self.down.build()

    def call(self, x_BTD: Any) -> Any:
        return self.down(activation(self.activation)(self.gate(x_BTD)) * self.up(x_BTD))


def _up_and_down(layer: Any) -> tuple[Linear, Linear]:
    hidden, inner, shared = layer.hidden_size, layer.intermediate_size, {"bias": layer.bias, "dtype": layer.dtype_policy}
    return (
        Linear(hidden, inner, axes=("hidden", "feed_forward"), name="up", **shared),
        Linear(inner, hidden, axes=("feed_forward", "hidden"), stddev=layer.output_stddev, name="down", **shared),
    )
