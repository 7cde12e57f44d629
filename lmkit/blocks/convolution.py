"""A convolution over neighbouring tokens beside a block (DeBERTa 2, He et al. 2021)."""

from typing import Any

from keras import ops

from lmkit.layers.activations import activation
from lmkit.layers.dropout import dropout, layer_id
from lmkit.layers.layer import Layer
from lmkit.layers.linear import linear
from lmkit.layers.weights import Normal, add_weight, canonical


class TokenConvolution(Layer):
    """norm(y + activation(convolution(x))): x [B, T, D] is what a block reads, y what it made of it.

    A token reads `kernel_size` tokens, itself in their middle; those of other segments, and beyond the row, are zeros.
    """

    def __init__(
        self, hidden_size: int, kernel_size: int, *, norm: Layer, activation: str = "tanh", dropout: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.kernel_size, self.norm = hidden_size, kernel_size, norm
        self.activation, self.dropout = activation, dropout

    def build(self, input_shape: Any = None) -> None:
        shape = (self.kernel_size, self.hidden_size, self.hidden_size)
        self.kernel_weight = add_weight(self, "kernel", shape, Normal(0.02), ("taps", "hidden", "hidden"))
        self.bias_weight = add_weight(self, "bias", (self.hidden_size,), "zeros", ("hidden",))
        self.norm.build()
        self.layer_id = layer_id(canonical(self) + ".dropout")

    def call(self, x_BTD: Any, y_BTD: Any, *, segments: Any = None, row_key: Any = None) -> Any:
        """x and y [B, T, D], segments int[B, T] or None for one document a row -> [B, T, D]."""
        taps = self._taps(x_BTD)
        if segments is not None:
            own = [ops.equal(near, segments) for near in self._taps(segments)]
            taps = [ops.where(ops.expand_dims(same, -1), tap, ops.zeros_like(tap)) for tap, same in zip(taps, own, strict=True)]
        kernel = ops.reshape(self.kernel_weight, (-1, self.hidden_size))
        z = dropout(linear(ops.concatenate(taps, axis=-1), kernel, self.bias_weight), self.dropout, row_key, self.layer_id)
        return self.norm(y_BTD + activation(self.activation)(z))

    def _taps(self, x: Any) -> list[Any]:
        """For each place of the kernel what stands there, seen from every token; 0 beyond the row."""
        side = self.kernel_size // 2
        padded = ops.pad(x, [(0, 0), (side, side), *[(0, 0)] * (len(x.shape) - 2)])
        return [padded[:, i : (i - 2 * side) or None] for i in range(self.kernel_size)]
