"""Layer and root-mean-square normalization, in float32 whatever the dtype around them."""

from collections.abc import Callable
from functools import cache
from typing import Any

from keras import ops

from lmkit.engine.tensorflow import fused
from lmkit.layers.layer import Layer
from lmkit.layers.weights import add_weight


def layer_norm(x: Any, scale_D: Any, bias_D: Any, epsilon: float) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis (Ba et al., 2016); a bias of None is 0."""
    wide, scale_D = ops.cast(x, "float32"), ops.cast(scale_D, "float32")
    centred = wide - ops.mean(wide, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    normed = centred * (ops.rsqrt(variance + epsilon) * scale_D)
    return ops.cast(normed if bias_D is None else normed + ops.cast(bias_D, "float32"), x.dtype)


def rms_norm(x: Any, scale_D: Any, epsilon: float) -> Any:
    """x / sqrt(mean(x^2) + epsilon) * scale over the last axis (Zhang and Sennrich, 2019)."""
    wide = ops.cast(x, "float32")
    mean_square = ops.mean(ops.square(wide), axis=-1, keepdims=True)
    return ops.cast(wide * (ops.rsqrt(mean_square + epsilon) * ops.cast(scale_D, "float32")), x.dtype)


class LayerNorm(Layer):
    """`layer_norm` with a scale and, unless `bias` is False, a bias of `size`."""

    def __init__(self, size: int, *, epsilon: float = 1e-5, bias: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.size, self.epsilon, self.bias = size, epsilon, bias

    def build(self, input_shape: Any = None) -> None:
        self.scale = add_weight(self, "scale", (self.size,), "ones", ("hidden",))
        self.bias_weight = add_weight(self, "bias", (self.size,), "zeros", ("hidden",)) if self.bias else None

    def call(self, x: Any) -> Any:
        weights = [ops.convert_to_tensor(weight) for weight in (self.scale, self.bias_weight) if weight is not None]
        return _layer_norm(self.epsilon)(x, *weights)


class RmsNorm(Layer):
    """`rms_norm` with a scale of `size`; `unit_offset` multiplies by 1 + scale instead (Gemma)."""

    def __init__(self, size: int, *, epsilon: float = 1e-6, unit_offset: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.size, self.epsilon, self.unit_offset = size, epsilon, unit_offset

    def build(self, input_shape: Any = None) -> None:
        self.scale = add_weight(self, "scale", (self.size,), "zeros" if self.unit_offset else "ones", ("hidden",))

    def call(self, x: Any) -> Any:
        return _rms_norm(self.epsilon, 1.0 if self.unit_offset else 0.0)(x, ops.convert_to_tensor(self.scale))


@cache
def _layer_norm(epsilon: float) -> Callable[..., Any]:
    return fused(lambda x, scale, bias=None: layer_norm(x, scale, bias, epsilon))


@cache
def _rms_norm(epsilon: float, offset: float) -> Callable[..., Any]:
    return fused(lambda x, scale: rms_norm(x, ops.cast(scale, "float32") + offset, epsilon))
