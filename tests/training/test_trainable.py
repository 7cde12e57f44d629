"""Which variables are trained: decay, freezing, layer-wise rates."""

import keras
import numpy as np
import pytest

from lmkit.engine import tensorflow as engine
from lmkit.errors import CheckpointError, SpecError
from lmkit.training.build import build_optimizer
from lmkit.training.spec import AdamW, Constant, Sgd
from lmkit.training.trainable import awakenings, is_decayed, is_hidden_matrix, multipliers, require_parts

NAMES = [
    "embeddings.token.embedding",
    "embeddings.norm.scale",
    "encoder.layers.0.attention.query.kernel",
    "encoder.layers.1.attention.query.bias",
    "encoder.layers.10.feed_forward.up.kernel",
    "encoder.norm.scale",
    "heads.mlm.bias",
]


def build(spec, freeze=(), **settings):
    variables = {name: keras.Variable(np.ones((2, 2) if name.endswith(("kernel", "embedding")) else 2, "float32")) for name in NAMES}
    return variables, build_optimizer(spec, variables, freeze=freeze, replicas=engine.replicas("one_device"), **settings)


def test_matrices_decay_and_biases_and_scales_do_not():
    assert [name for name in NAMES if is_decayed(name)] == [NAMES[0], NAMES[2], NAMES[4]]


def test_hidden_matrices_are_the_kernels_of_blocks():
    assert [name for name in NAMES if is_hidden_matrix(name, (2, 2))] == [NAMES[2], NAMES[4]]


def test_layer_decay_multiplies_once_for_each_layer_below_the_top():
    shares = multipliers(NAMES, layer_decay=0.5)
    assert [shares[name] for name in NAMES] == [0.5**12, 0.5**12, 0.5**11, 0.5**10, 0.5, 1.0, 1.0]


def test_frozen_variables_have_no_slots_and_stay():
    _, optimizer = build(AdamW(learning_rate=Constant(peak=1.0)), freeze=("embeddings", "layers.0-1"))
    assert optimizer.names == NAMES[4:]
    assert {name.partition("/")[0] for name in optimizer.slots} == set(NAMES[4:])
    assert set(optimizer.tensors()[0]) == set(NAMES)


def test_a_pattern_that_meets_nothing_is_refused():
    with pytest.raises(SpecError, match=r"model.freeze: layers.2 is no part"):
        multipliers(NAMES, freeze=("layers.2",))


def test_freezing_everything_is_refused():
    with pytest.raises(SpecError, match="nothing is left to train"):
        multipliers(NAMES, freeze=("embeddings", "encoder", "heads"))


def test_one_update_moves_each_variable_by_its_share():
    variables, optimizer = build(Sgd(learning_rate=Constant(peak=1.0), layer_decay=0.5))
    gradients = [np.ones(variable.shape, "float32") for variable in optimizer.variables]
    pairs = optimizer.updates([keras.ops.convert_to_tensor(g) for g in gradients], scale=0.5, learning_rate=1.0, step=keras.ops.ones(()))
    assert [variable for variable, _ in pairs] == list(variables.values())
    moved = [1.0 - float(np.ravel(value)[0]) for _, value in pairs]
    np.testing.assert_allclose(moved, [0.5 * share for share in multipliers(NAMES, layer_decay=0.5).values()], atol=1e-6)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_tensors_of_another_model_are_refused_before_anything_is_set(change):
    variables, optimizer = build(AdamW(learning_rate=Constant(peak=1.0)))
    model, slots = optimizer.tensors()
    wrong = {name: value + 1 for name, value in model.items()}
    if change == "missing":
        del wrong[NAMES[2]]
    elif change == "extra":
        wrong["heads.other.bias"] = np.zeros(2, "float32")
    else:
        wrong[NAMES[2]] = np.zeros((3, 2), "float32")
    with pytest.raises(CheckpointError, match=r"heads.other.bias" if change == "extra" else NAMES[2]):
        optimizer.restore(wrong, slots)
    np.testing.assert_array_equal(variables[NAMES[0]].numpy(), model[NAMES[0]])


def test_layers_awake_one_after_another_from_the_top_and_then_learn_as_if_they_began():
    asleep = awakenings(NAMES, 3)
    assert [asleep[name] for name in NAMES] == [36, 36, 33, 30, 3, 0, 0]
    spec = AdamW(learning_rate=Constant(peak=0.1), weight_decay=0.5)
    slow, optimizer = build(spec, unfreeze_every=3)
    fast, other = build(spec)
    for step in range(1, 8):
        gradients = [np.full(variable.shape, step, "float32") for variable in optimizer.variables]
        heard = optimizer.heard(gradients, np.float32(step))
        assert [bool(np.any(gradient)) for gradient in heard] == [step > asleep[name] for name in NAMES]
        for variable, value in optimizer.updates(heard, scale=1.0, learning_rate=0.1, step=np.float32(step)):
            variable.assign(value)
        if step > 3:  # the other one begins where layer 10 awakes, with its gradients
            for variable, value in other.updates(gradients, scale=1.0, learning_rate=0.1, step=np.float32(step - 3)):
                variable.assign(value)
    np.testing.assert_allclose(np.asarray(slow[NAMES[4]]), np.asarray(fast[NAMES[4]]), rtol=1e-6)
    for name in NAMES[:4]:
        assert np.all(np.asarray(slow[name]) == 1), name
    asleep_still = [slot for slot in optimizer.slots if slot.partition("/")[0] in NAMES[:4]]
    assert asleep_still and not any(np.any(np.asarray(optimizer.slots[slot])) for slot in asleep_still)


def test_what_begins_anew_must_be_a_part():
    with pytest.raises(SpecError, match=r"model.reinitialize: layer.1 is no part of this model; did you mean layers.1"):
        require_parts(("layer.1",), NAMES, "model.reinitialize")
