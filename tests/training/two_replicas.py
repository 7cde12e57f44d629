"""Run by test_replicas.py in a process of its own: an encoder with two tasks, experts, dropout and clipping on two devices and on one."""

import numpy as np

from lmkit.blocks.spec import Dense, LayerNorm, Mixture
from lmkit.engine import devices
from lmkit.engine import tensorflow as engine
from lmkit.heads.model import Model
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import Encoder
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import Generator, MaskedLm, NextSentence, ReplacedToken
from lmkit.training.build import build_optimizer
from lmkit.training.spec import AdamW, Constant, Ema
from lmkit.training.step import EvaluationStep, Step

VOCABULARY, LENGTH, ROWS, STEPS = 23, 8, 8, 12
RTD = ReplacedToken(generator=Generator(hidden_size=0.5, num_layers=1), weight=0.1)
TASKS = {"mlm": MaskedLm(), "nsp": NextSentence(weight=0.5), "rtd": RTD}
WEIGHTS = {name: task.weight for name, task in TASKS.items()}


def make(replicas, *, rematerialize=False, **settings):
    parts = (Dense(), Mixture(num_experts=3, experts_per_token=2, intermediate_size=12, balance_weight=0.1))
    sizes = {"num_layers": 2, "hidden_size": 16, "num_heads": 2, "feed_forward": parts}
    spec = Encoder(norm=LayerNorm(placement="post"), dropout=0.1, **sizes)
    with replicas.scope():
        body = build_backbone(spec, vocab_size=VOCABULARY, max_length=LENGTH, rematerialize=rematerialize)
        model = Model(
            body, {name: build_head(task, name, backbone=body, model_spec=spec, max_length=LENGTH) for name, task in TASKS.items()}
        )
        initialize(model, 0)
    variables = {canonical(variable): variable for variable in model.weights}
    words = AdamW(learning_rate=Constant(peak=1.0), weight_decay=0.1)
    optimizer = build_optimizer(words, variables, ema=Ema(decay=0.9), loss_scaling=True, replicas=replicas)
    return model, Step(model, optimizer, replicas, weights=WEIGHTS, clip_norm=0.5, **settings)


def batch(step, rows=ROWS):
    rng = np.random.default_rng(step)
    made = {
        "tokens": rng.integers(0, VOCABULARY, (rows, LENGTH)).astype("int32"),
        "segments": (np.arange(LENGTH) < rng.integers(3, LENGTH + 1, (rows, 1))).astype("int32"),
        "positions": np.tile(np.arange(LENGTH, dtype="int32"), (rows, 1)),
        "token_types": np.zeros((rows, LENGTH), "int32"),
        "row_key": rng.integers(0, 2**32, rows).astype("uint32"),
        "mlm/where": rng.integers(0, 3, (rows, 2)).astype("int32"),
        "mlm/labels": rng.integers(0, VOCABULARY, (rows, 2)).astype("int32"),
        "mlm/weights": rng.integers(0, 2, (rows, 2)).astype("float32"),
        "nsp/labels": rng.integers(0, 2, rows).astype("int32"),
        "nsp/weights": np.ones(rows, "float32"),
        "rtd/masked": rng.integers(0, VOCABULARY, (rows, LENGTH)).astype("int32"),
        "rtd/where": np.tile(np.array([2, 0], "int32"), (rows, 1)),
        "rtd/hidden": rng.integers(0, VOCABULARY, (rows, 2)).astype("int32"),
        "rtd/shares": rng.integers(0, 3, (rows, 2)).astype("float32"),
        "rtd/labels": np.zeros((rows, LENGTH), "int32"),
        "rtd/weights": np.ones((rows, LENGTH), "float32"),
    }
    return made | {f"{task}/denominator": np.float32(made[f"{task}/weights"].sum()) for task in TASKS}


def train(step):
    return [step([batch(s)], [5e-3], s).loss[0] for s in range(1, STEPS + 1)]


devices.configure(replicas=2)
one, two = engine.replicas("one_device"), engine.replicas("mirrored", 2)
assert (one.count, two.count) == (1, 2)
alone, step = make(one)
losses, (weights, slots) = train(step), step.tensors()
assert losses[-1] < losses[0]
cases = {
    "graph, 2 micro-batches, rematerialized": {"micro_batches": 2, "rematerialize": True},
    "XLA": {"xla": True},
}
for name, settings in cases.items():
    model, step = make(two, **settings)
    np.testing.assert_allclose(train(step), losses, rtol=1e-5, err_msg=name)
    for found, wanted in zip(step.tensors(), (weights, slots), strict=True):
        for variable in wanted:
            np.testing.assert_allclose(found[variable], wanted[variable], rtol=1e-4, atol=1e-5, err_msg=f"{name}: {variable}")
    assert step.compilations == 1
rows, expected = (EvaluationStep(m, r)(batch(99, rows=7)) for m, r in ((model, two), (alone, one)))
assert rows["mlm"]["predicted"].shape == (7, 2)
np.testing.assert_allclose(rows["mlm"]["loss"], expected["mlm"]["loss"], rtol=1e-3)
print("equal")
