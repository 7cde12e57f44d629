"""Loss scaling: the gradients of float32, nothing learned from what overflows, and a scale that comes back with its checkpoint."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from lmkit.engine import devices
from lmkit.heads.model import Model
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import Decoder
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import CausalLm
from lmkit.training.build import build_optimizer
from lmkit.training.hooks import Hooks
from lmkit.training.loop import Trainer
from lmkit.training.loss_scale import DOUBLED_AFTER, START
from lmkit.training.plan import Plan
from lmkit.training.spec import AdamW, Constant, Sgd
from lmkit.training.step import Outcome, Step

spec = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)

SCALE, GOOD = "loss_scale/scale", "loss_scale/finite_steps"
WEIGHTS = {"mlm": 1.0, "nsp": 0.5}


def make(scaling=True, **settings):
    model = tiny.TinyModel()
    optimizer = build_optimizer(AdamW(learning_rate=Constant(peak=0.02)), model.named, loss_scaling=scaling, replicas=tiny.alone())
    return Step(model, optimizer, tiny.alone(), weights=WEIGHTS, clip_norm=0.5, **settings)


def poisoned(step):
    made = tiny.batch(step)
    made["nsp/weights"] = np.full_like(made["nsp/weights"], np.inf)
    return made


def scale_of(step):
    slots = step.tensors()[1]
    return float(slots[SCALE]), float(slots[GOOD])


def test_a_scale_changes_no_step_that_does_not_overflow():
    plain, scaled = make(scaling=False), make(micro_batches=4)
    for s in range(1, 5):
        one, other = (step([tiny.batch(s)], [0.02], s) for step in (plain, scaled))
        np.testing.assert_allclose([other.loss, other.gradient_norm], [one.loss, one.gradient_norm], rtol=1e-5)
    for name, value in plain.tensors()[0].items():
        np.testing.assert_allclose(scaled.tensors()[0][name], value, atol=1e-5)
    assert scale_of(scaled) == (START, 4)


@pytest.mark.parametrize("xla", [False, True])
def test_an_overflow_halves_the_scale_and_is_left_out_of_a_run_that_goes_on(xla):
    step = make(xla=xla, steps_per_call=4)
    start = step.tensors()
    for s in (1, 2, 4):
        step([tiny.batch(s)], [0.02], s)
    expected = step.tensors()
    step.restore(*start)
    sums = step([tiny.batch(1), tiny.batch(2), poisoned(3), tiny.batch(4)], [0.02] * 4, 1)
    assert sums.outcome.tolist() == [Outcome.LEARNED, Outcome.LEARNED, Outcome.OVERFLOW, Outcome.LEARNED]
    assert sums.loss_scale.tolist() == [START, START, START, START / 2]
    assert scale_of(step) == (START / 2, 1)
    for found, wanted in zip(step.tensors(), expected, strict=True):
        for name in wanted.keys() - {SCALE, GOOD}:
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_the_scale_grows_after_many_good_steps_and_goes_on_from_a_checkpoint():
    step = make()
    model, slots = step.tensors()
    step.restore(model, slots | {GOOD: np.float32(DOUBLED_AFTER - 2)})
    step([tiny.batch(1)], [0.02], 1)
    kept = step.tensors()
    ends = []
    for _ in range(2):
        step.restore(*kept)
        assert step([tiny.batch(2)], [0.02], 2).outcome[0] == Outcome.LEARNED
        assert scale_of(step) == (2 * START, 0)
        ends.append(step.tensors())
    for one, other in zip(*ends, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_what_overflows_at_a_scale_of_one_is_not_finite_and_changes_nothing():
    step = make()
    model, slots = step.tensors()
    step.restore(model, slots | {SCALE: np.float32(2.0), GOOD: np.float32(7)})
    outcomes = [step([poisoned(s)], [0.02], s).outcome[0] for s in (1, 2, 3)]
    assert outcomes == [Outcome.OVERFLOW, Outcome.NOT_FINITE, Outcome.NOT_FINITE]
    assert scale_of(step) == (1, 0)


def test_the_scale_is_a_curve_and_its_end_is_said():
    step, points, said = make(), [], []
    model, slots = step.tensors()
    step.restore(model, slots | {SCALE: np.float32(4.0)})
    hooks = Hooks(log=lambda number, scalars: points.append(scalars["train/loss_scale"]), say=said.append)
    batches = [tiny.batch(1), poisoned(2), poisoned(3), tiny.batch(4)]
    state = Trainer(
        step, Plan(steps=4, log_every=1), batch_at=batches.__getitem__, rate_at=lambda s: 0.02, weights=WEIGHTS, hooks=hooks
    ).train()
    assert points == [4, 4, 2, 1] and state.skipped == 2
    assert len(said) == 1 and said[0].startswith("step 3 overflows")


def test_float16_has_the_gradients_of_float32():
    rows, length, vocabulary = 4, 8, 23
    spec, rng = Decoder(num_layers=2, hidden_size=16, num_heads=2, dropout=0.1), np.random.default_rng(0)
    batch = {
        "tokens": rng.integers(0, vocabulary, (rows, length)).astype("int32"),
        "segments": np.ones((rows, length), "int32"),
        "positions": np.tile(np.arange(length, dtype="int32"), (rows, 1)),
        "row_key": rng.integers(0, 2**32, rows).astype("uint32"),
        "lm/labels": rng.integers(0, vocabulary, (rows, length)).astype("int32"),
        "lm/weights": np.ones((rows, length), "float32"),
        "lm/denominator": np.float32(1e4 * rows * length),  # gradients of this size, unscaled, are mostly 0 in float16
    }
    gradients = []
    for precision in ("float32", "float16"):
        devices.set_precision(precision)
        try:
            body = build_backbone(spec, vocab_size=vocabulary, max_length=length)
            model = Model(body, {"lm": build_head(CausalLm(), "lm", backbone=body, model_spec=spec)})
        finally:
            devices.set_precision("float32")
        initialize(model, 0)
        variables, words = {canonical(weight): weight for weight in model.weights}, Sgd(learning_rate=Constant(peak=1.0))
        optimizer = build_optimizer(words, variables, loss_scaling=precision == "float16", replicas=tiny.alone())
        step = Step(model, optimizer, tiny.alone(), weights={"lm": 1.0})
        before = step.tensors()[0]
        assert step([batch], [1e4], 1).outcome[0] == Outcome.LEARNED
        after = step.tensors()[0]
        gradients.append(np.concatenate([np.ravel(before[name] - after[name]) for name in before]))
    exact, half = gradients
    assert np.linalg.norm(half - exact) < 5e-3 * np.linalg.norm(exact)
