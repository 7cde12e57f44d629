"""The one affine map, its layer, and weights under their canonical names."""

import keras
import numpy as np
import pytest
from keras import ops

from lmkit.layers.activations import ACTIVATIONS, activation
from lmkit.layers.linear import Linear, linear
from lmkit.layers.weights import Normal, add_weight, canonical

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("leading", [(5,), (2, 3), (2, 3, 4)])
def test_linear_is_a_product_over_the_last_axis(leading: tuple[int, ...]) -> None:
    x, kernel, bias = (RANDOM.normal(size=shape).astype(np.float32) for shape in ((*leading, 6), (6, 7), (7,)))
    np.testing.assert_allclose(np.asarray(linear(ops.convert_to_tensor(x), kernel, bias)), x @ kernel + bias, rtol=1e-5, atol=1e-5)


def test_the_result_has_the_dtype_of_the_input() -> None:
    assert linear(ops.ones((2, 3), "bfloat16"), np.ones((3, 4), np.float32), np.ones(4, np.float32)).dtype.name == "bfloat16"


def test_a_weight_keeps_its_start_and_axes_and_is_float32_under_any_policy() -> None:
    layer = Linear(3, 4, axes=("hidden", "vocab"), stddev=0.5, dtype="mixed_bfloat16")
    layer.build()
    assert layer.kernel_weight.described.start == Normal(0.5)
    assert layer.bias_weight.described.axes == ("vocab",)
    assert {weight.dtype for weight in layer.weights} == {"float32"}


def test_a_canonical_name_is_the_path_without_its_root() -> None:
    with keras.name_scope("root"), keras.name_scope("inner"):
        layer = Linear(3, 4, name="up")
        layer.build()
    assert [canonical(weight) for weight in layer.weights] == ["inner.up.kernel", "inner.up.bias"]


def test_every_dimension_needs_an_axis_name() -> None:
    with pytest.raises(ValueError, match="axes"):
        add_weight(keras.layers.Layer(), "w", (2, 3), "zeros", ("hidden",))


def test_activations_are_their_formulas() -> None:
    x = np.linspace(-4, 4, 41).astype(np.float32)
    erf = np.array([float(ops.erf(v / np.sqrt(2))) for v in x])
    expected = {
        "gelu": x * (1 + erf) / 2,
        "gelu_tanh": x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "quick_gelu": x / (1 + np.exp(-1.702 * x)),
        "relu": np.maximum(x, 0),
        "relu_squared": np.maximum(x, 0) ** 2,
        "silu": x / (1 + np.exp(-x)),
        "tanh": np.tanh(x),
    }
    assert expected.keys() == ACTIVATIONS.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(np.asarray(activation(name)(ops.convert_to_tensor(x))), values, atol=2e-6, err_msg=name)


def test_an_unknown_activation_names_the_choices() -> None:
    with pytest.raises(ValueError, match="gelu_tanh"):
        activation("swish")
