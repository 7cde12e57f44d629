"""The update rules are those of Keras where the definitions coincide; and what each promises of itself."""

import keras
import numpy as np
import pytest
from keras import ops

from lmkit.engine import tensorflow as engine
from lmkit.training import optimizers
from lmkit.training.build import build_optimizer, build_rule
from lmkit.training.spec import Adafactor, AdamW, Constant, Lion, Muon, Sgd
from lmkit.training.trainable import is_decayed, is_hidden_matrix

RATE = 0.01
KERNEL = "decoder.layers.0.feed_forward.up.kernel"


def ours(spec, start, gradients, name=KERNEL):
    """The weight after each step of a rule."""
    rule = build_rule(spec, decayed=is_decayed(name), hidden=is_hidden_matrix(name, start.shape))
    weight = ops.convert_to_tensor(start)
    slots = {slot: ops.zeros(shape) for slot, shape in rule.slots(start.shape).items()}
    path = []
    for step, gradient in enumerate(gradients, 1):
        now = {name: ops.convert_to_tensor(np.float32(value)) for name, value in (("learning_rate", RATE), ("step", step), ("scale", 1.0))}
        weight, slots = rule(weight, ops.convert_to_tensor(gradient), slots, **now)
        path.append(np.asarray(weight))
    return np.stack(path)


def theirs(optimizer, start, gradients):
    weight = keras.Variable(start, name="kernel")
    optimizer.build([weight])
    path = []
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient)], [weight])
        path.append(weight.numpy().copy())
    return np.stack(path)


def problem(shape, steps=20):
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape).astype("float32"), rng.standard_normal((steps, *shape)).astype("float32")


def constant(kind, **settings):
    return kind(learning_rate=Constant(peak=RATE), **settings)


# Keras adds AdamW's epsilon before correcting v, so epsilon is made to vanish; its Adafactor caps the rate at 1/sqrt(step),
# which 0.01 stays below; its Muon decays with the matrices' rate everywhere, ours with each weight's own.
PAIRS = {
    "adamw": (constant(AdamW, weight_decay=0.1, epsilon=1e-12), keras.optimizers.AdamW(RATE, weight_decay=0.1, epsilon=1e-12)),
    "lion": (constant(Lion, weight_decay=0.1), keras.optimizers.Lion(RATE, weight_decay=0.1)),
    "sgd": (constant(Sgd), keras.optimizers.SGD(RATE)),
    "momentum": (constant(Sgd, momentum=0.9, weight_decay=0.1), keras.optimizers.SGD(RATE, momentum=0.9, weight_decay=0.1)),
    "nesterov": (constant(Sgd, momentum=0.9, nesterov=True), keras.optimizers.SGD(RATE, momentum=0.9, nesterov=True)),
    "adafactor": (constant(Adafactor, weight_decay=0.1), keras.optimizers.Adafactor(RATE, relative_step=False, weight_decay=0.1)),
    "muon": (constant(Muon, weight_decay=0.1), keras.optimizers.Muon(RATE, weight_decay=0.1)),
}


@pytest.mark.parametrize("shape", [(6, 4), (3, 8)])
@pytest.mark.parametrize("kind", PAIRS)
def test_a_matrix_moves_as_under_keras(kind, shape):
    spec, optimizer = PAIRS[kind]
    start, gradients = problem(shape)
    fresh = optimizer.__class__.from_config(optimizer.get_config())
    np.testing.assert_allclose(ours(spec, start, gradients), theirs(fresh, start, gradients), atol=2e-6)


@pytest.mark.parametrize("kind", ["adamw", "lion", "momentum", "adafactor"])
def test_a_vector_moves_as_under_keras_without_decay(kind):
    spec, optimizer = PAIRS[kind]
    start, gradients = problem((5,))
    fresh = optimizer.__class__.from_config(optimizer.get_config() | {"weight_decay": 0.0})
    np.testing.assert_allclose(ours(spec, start, gradients, name="decoder.norm.scale"), theirs(fresh, start, gradients), atol=2e-6)


def test_muon_leaves_embeddings_heads_and_vectors_to_adamw_at_a_share_of_the_rate():
    muon = constant(Muon, weight_decay=0.0, adamw_learning_rate_ratio=0.1)
    start, gradients = problem((6, 4))
    for name in ("embeddings.token.embedding", "heads.lm.output.kernel"):
        adamw = theirs(keras.optimizers.AdamW(RATE * 0.1, weight_decay=0.0, epsilon=1e-8), start, gradients)
        np.testing.assert_allclose(ours(muon, start, gradients, name=name), adamw, atol=2e-6)


def test_adamw_is_the_papers_in_float64_from_the_first_step_on():
    start, gradients = problem((4, 3))
    m = v = np.zeros((4, 3))
    weight = start.astype("float64")
    for t, g in enumerate(gradients.astype("float64"), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        weight = weight - RATE * 0.1 * weight
        weight -= RATE * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-2)
        got = ours(constant(AdamW, weight_decay=0.1, epsilon=1e-2), start, gradients[:t])[-1]
        np.testing.assert_allclose(got, weight, atol=5e-7)


@pytest.mark.parametrize("kind", ["adamw", "sgd", "muon"])
def test_an_average_follows_the_weights_and_leaves_them_alone(kind):
    spec, (start, gradients) = PAIRS[kind][0], problem((4, 3))
    rule = build_rule(spec, decayed=True, hidden=is_hidden_matrix(KERNEL, start.shape)).averaged(0.7)
    weight, average = ops.convert_to_tensor(start), start.astype("float64")
    slots = {slot: ops.zeros(shape) for slot, shape in rule.slots(start.shape).items()} | {"twin": weight}
    for step, (gradient, alone) in enumerate(zip(gradients, ours(spec, start, gradients), strict=True), 1):
        now = {"scale": np.float32(1), "learning_rate": np.float32(RATE), "step": np.float32(step)}
        weight, slots = rule(weight, gradient, slots, **{name: ops.convert_to_tensor(value) for name, value in now.items()})
        share = min(0.7, (1 + step) / (10 + step))
        average = share * average + (1 - share) * alone
        np.testing.assert_array_equal(weight, alone)
        np.testing.assert_allclose(slots["twin"], average, atol=1e-6)


def test_orthogonalizing_moves_all_singular_values_near_one():
    x = np.random.default_rng(0).standard_normal((12, 7)).astype("float32") * 100
    values = np.linalg.svd(np.asarray(optimizers.orthogonalize(ops.convert_to_tensor(x))), compute_uv=False)
    assert values.min() > 0.6 and values.max() < 1.25


def test_muon_does_not_care_for_the_scale_of_the_gradient():
    start, gradients = problem((5, 4), steps=3)
    muon = constant(Muon, weight_decay=0.0)
    np.testing.assert_allclose(ours(muon, start, gradients), ours(muon, start, 1000 * gradients), rtol=1e-3)


def test_adafactor_remembers_a_row_and_a_column_for_a_matrix():
    assert optimizers.adafactor_slots((7, 5)) == {"r": (7,), "c": (5,)}


@pytest.mark.parametrize("spec", [constant(kind) for kind in (AdamW, Lion, Adafactor, Muon)], ids=lambda spec: spec.kind)
def test_slots_are_named_after_their_variables_and_come_back_exactly(spec):
    variables = {KERNEL: keras.Variable(np.ones((3, 2), "float32")), "decoder.norm.scale": keras.Variable(np.ones(2, "float32"))}
    optimizer = build_optimizer(spec, variables, replicas=engine.replicas("one_device"))
    assert all(name.rpartition("/")[0] in variables for name in optimizer.slots)
    model, slots = optimizer.tensors()
    changed = {name: value + 1 for name, value in slots.items()}
    optimizer.restore(model, changed)
    for name, value in optimizer.tensors()[1].items():
        np.testing.assert_array_equal(value, changed[name])
