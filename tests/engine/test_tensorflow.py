"""The engine: one function, one compilation; fused and recomputed functions change nothing but speed and memory."""

import keras
import numpy as np
import pytest
from keras import ops

from lmkit.engine import devices
from lmkit.engine import tensorflow as engine
from lmkit.errors import MachineError

rng = np.random.default_rng(0)
x_BD = rng.standard_normal((5, 4)).astype("float32")
y_BD = rng.standard_normal((5, 4)).astype("float32")
labels_B = np.array([0, 3, 1, 2, 2], "int32")


def smooth(x, y, labels):
    picked = ops.cast(ops.expand_dims(labels, -1), x.dtype)
    return ops.sum(ops.gelu(x, approximate=False) * ops.tanh(y) * picked, axis=-1)


@pytest.fixture
def dense():
    layer = keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=1))
    layer.build((None, 4))
    return layer


def gradients(function, layer, *, xla):
    def run(x):
        return engine.value_and_grad(lambda: (ops.sum(ops.square(function(x))), ()), layer.trainable_variables)

    value, _, grads = engine.compiled(run, xla=xla)(x_BD)
    return [value.numpy(), *(grad.numpy() for grad in grads)]


def test_a_new_shape_compiles_once_and_a_known_one_never():
    double = engine.compiled(lambda x: x * 2)
    for rows in (1, 2, 1, 2, 1):
        np.testing.assert_array_equal(double(np.ones((rows, 3), "float32")), np.full((rows, 3), 2.0))
    assert double.compilations == 2


@pytest.mark.parametrize("xla", [False, True])
def test_a_fused_function_keeps_value_and_gradient(xla, dense):
    fused = engine.fused(smooth)
    weights = ops.convert_to_tensor(rng.standard_normal((3, 4)).astype("float32"))

    def through(function):
        return lambda x: function(ops.matmul(dense(x), weights), y_BD, labels_B)

    for a, b in zip(gradients(through(fused), dense, xla=xla), gradients(through(smooth), dense, xla=xla), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_fused_function_is_a_plain_call_on_symbolic_tensors_and_outside_a_graph():
    fused = engine.fused(lambda x: ops.tanh(x))
    assert tuple(fused(keras.KerasTensor((None, 3))).shape) == (None, 3)
    np.testing.assert_array_equal(fused(x_BD), ops.tanh(x_BD))


@pytest.mark.parametrize("xla", [False, True])
def test_recomputing_changes_no_gradient(xla, dense):
    def block(x):
        return ops.gelu(dense(x))

    for a, b in zip(gradients(engine.recompute(block), dense, xla=xla), gradients(block, dense, xla=xla), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_fused_function_can_be_recomputed_and_give_several_values(dense):
    both = engine.fused(lambda x: (ops.tanh(x), ops.square(x)))

    def block(x):
        tanh, square = both(dense(x))
        return tanh * 2 + square

    for a, b in zip(gradients(engine.recompute(block), dense, xla=False), gradients(block, dense, xla=True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_chunks_change_no_value_and_no_gradient(mode, size):
    labels = np.arange(7, dtype="int32") % 3
    x, table = (keras.Variable(rng.standard_normal(shape).astype("float32")) for shape in ((7, 4), (3, 4)))
    score = engine.fused(lambda scores, labels: (ops.sum(ops.tanh(scores) * ops.one_hot(labels, 3), -1), ops.max(scores, -1)))

    def function(x, labels, table):
        return score(ops.matmul(x, ops.transpose(table)), labels)

    def run(in_chunks):
        def total():
            rows, shared = (ops.square(x.value), labels), (table.value,)
            one, other = engine.in_chunks(function, rows, shared, size, ("float32", "float32")) if in_chunks else function(*rows, *shared)
            return ops.sum(ops.square(one)) + ops.sum(other), (one, other)

        return engine.value_and_grad(total, [x, table])

    calls = [lambda in_chunks=in_chunks: run(in_chunks) for in_chunks in (True, False)]
    calls = calls if mode == "eager" else [engine.compiled(call, xla=mode == "xla") for call in calls]
    for found, wanted in zip(*(keras.tree.flatten(call()) for call in calls), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_rows_that_an_embedding_meets_twice_are_summed_in_one_dense_gradient():
    table = keras.layers.Embedding(6, 2)
    table.build()
    _, _, (gradient,) = engine.value_and_grad(lambda: (ops.sum(table(np.array([4, 4, 1]))), ()), table.trainable_variables)
    np.testing.assert_array_equal(gradient, [[0, 0], [1, 1], [0, 0], [0, 0], [2, 2], [0, 0]])


def test_a_variable_without_part_in_the_loss_has_gradient_zero(dense):
    _, _, grads = engine.value_and_grad(lambda: (ops.sum(dense.bias), ()), [dense.kernel, dense.bias])
    np.testing.assert_array_equal(grads[0], np.zeros((4, 3)))


@pytest.mark.parametrize("xla", [False, True])
def test_a_loop_runs_as_often_as_its_count_says_without_compiling_again(xla):
    power = engine.compiled(lambda x, n: engine.loop(n, lambda i, s: s * 2, x), xla=xla)
    for n in (0, 1, 5):
        np.testing.assert_array_equal(power(x_BD, np.int32(n)), x_BD * 2**n)
    assert power.compilations == 1


@pytest.mark.parametrize("xla", [False, True])
def test_variables_are_updated_only_if_the_condition_holds(xla, dense):
    before, alone = dense.bias.numpy(), engine.replicas("one_device")
    change = engine.compiled(lambda go: alone.update(go, lambda: [(dense.bias, dense.bias + 1.0)]), xla=xla)
    change(np.bool_(False))
    np.testing.assert_array_equal(dense.bias.numpy(), before)
    change(np.bool_(True))
    np.testing.assert_array_equal(dense.bias.numpy(), before + 1)


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(MachineError, match="99 devices are asked for"):
        engine.replicas("mirrored", 99)


def test_without_replicas_all_rows_stay_together():
    alone = engine.replicas("auto")
    assert alone.count == 1
    batch = alone.split({"tokens": x_BD, "denominator": np.float32(3)})
    np.testing.assert_array_equal(batch["tokens"], x_BD)


def test_the_probe_finds_a_speed_of_this_planet():
    assert 1e7 < devices.product_flops(64, 64, 64, "float32", seconds=0.01) < 1e16
