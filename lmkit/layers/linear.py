"""The affine map: one function for every projection, and the layer that owns its weights."""

from typing import Any

from keras import ops

from lmkit.layers.layer import Layer
from lmkit.layers.weights import Normal, add_weight


def linear(x: Any, kernel: Any, bias: Any = None) -> Any:
    """`x @ kernel + bias` over the last axis of `x`, in the dtype of `x`; kernel [in, out], bias [out].

    The leading axes are flattened: one 2-D product is faster than a batched one, above all in the kernel's gradient.
    """
    leading = ops.shape(x)[:-1]
    size_in, size_out = kernel.shape
    flat = ops.reshape(x, (-1, size_in)) if len(leading) != 1 else x
    out = ops.matmul(flat, ops.cast(kernel, x.dtype))
    if bias is not None:
        out = out + ops.cast(bias, x.dtype)
    return ops.reshape(out, (*leading, size_out)) if len(leading) != 1 else out


class Linear(Layer):
    """`linear` with weights: kernel [size_in, size_out] from normal(0, stddev), and a bias of zeros unless `bias` is False."""

    def __init__(
        self,
        size_in: int,
        size_out: int,
        *,
        bias: bool = True,
        stddev: float = 0.02,
        axes: tuple[str, str] = ("hidden", "hidden"),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.size_in, self.size_out, self.bias, self.stddev, self.axes = size_in, size_out, bias, stddev, tuple(axes)

    def build(self, input_shape: Any = None) -> None:
        self.kernel_weight = add_weight(self, "kernel", (self.size_in, self.size_out), Normal(self.stddev), self.axes)
        self.bias_weight = add_weight(self, "bias", (self.size_out,), "zeros", self.axes[1:]) if self.bias else None

    def call(self, x: Any) -> Any:
        return linear(x, self.kernel_weight, self.bias_weight)
