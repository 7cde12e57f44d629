"""The nonlinearities of feed-forward parts and heads, by their names in the spec."""

from collections.abc import Callable
from typing import Any

from keras import ops

from lmkit.engine.tensorflow import fused


def gelu(x: Any) -> Any:
    """x * Phi(x), with the normal distribution function exact by erf (Hendrycks and Gimpel, 2016)."""
    return ops.gelu(x, approximate=False)


def gelu_tanh(x: Any) -> Any:
    """GPT-2's approximation: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    return ops.gelu(x, approximate=True)


def quick_gelu(x: Any) -> Any:
    """CLIP's approximation: x * sigmoid(1.702 x)."""
    return x * ops.sigmoid(1.702 * x)


def relu_squared(x: Any) -> Any:
    """max(x, 0)^2 (Primer, So et al. 2021)."""
    return ops.square(ops.relu(x))


def _in_float32(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One kernel that computes in float32 and answers in the input's dtype: in bfloat16, tanh and erf would lose half the digits."""
    return fused(lambda x: ops.cast(function(ops.cast(x, "float32")), x.dtype))


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": _in_float32(gelu),
    "gelu_tanh": _in_float32(gelu_tanh),
    "quick_gelu": _in_float32(quick_gelu),
    "relu": ops.relu,
    "relu_squared": relu_squared,
    "silu": _in_float32(ops.silu),
    "tanh": _in_float32(ops.tanh),
}


def activation(name: str) -> Callable[[Any], Any]:
    """The function of that name; raises ValueError naming the choices."""
    if name not in ACTIVATIONS:
        raise ValueError(f"{name} is no activation; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
