"""The training step: the same mathematics however the rows and steps are cut, and nothing applied that is not finite."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from lmkit.training.build import build_optimizer
from lmkit.training.spec import AdamW, Constant, Ema, Sgd
from lmkit.training.step import EvaluationStep, Outcome, Step

spec = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)

ADAMW = AdamW(learning_rate=Constant(peak=0.02), weight_decay=0.1)
WEIGHTS = {"mlm": 1.0, "nsp": 0.5}


def make(optimizer=ADAMW, replicas=None, ema=None, loss_scaling=False, **settings):
    replicas = replicas or tiny.alone()
    with replicas.scope():
        model = tiny.TinyModel()
    settings = {"weights": WEIGHTS, "clip_norm": 0.5, **settings}
    optimizer = build_optimizer(optimizer, model.named, ema=ema, loss_scaling=loss_scaling, replicas=replicas)
    return model, Step(model, optimizer, replicas, **settings)


def train(step, steps=12, group=1, rate=0.02, **batches):
    losses = []
    for first in range(1, steps + 1, group):
        numbers = range(first, min(first + group, steps + 1))
        sums = step([tiny.batch(s, **batches) for s in numbers], [rate] * len(numbers), first)
        losses += sums.loss.tolist()
    return np.asarray(losses)


def weights(model):
    return {name: variable.numpy() for name, variable in model.named.items()}


def assert_same(a, b, tolerance):
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def reference():
    model, step = make()
    return train(step), weights(model)


def test_training_moves_the_loss_down():
    _, step = make(clip_norm=None)
    losses = [step([tiny.batch(1)], [0.02], s).loss[0] for s in range(1, 41)]
    assert losses[-1] < 0.6 * losses[0]


def test_four_micro_batches_change_nothing(reference):
    model, step = make(micro_batches=4)
    np.testing.assert_allclose(train(step), reference[0], rtol=1e-5)
    assert_same(weights(model), reference[1], 1e-5)


@pytest.mark.parametrize("xla", [False, True])
def test_several_steps_in_a_call_give_the_same_bits_however_they_are_grouped(xla, reference):
    model, step = make(xla=xla, steps_per_call=4)
    start, results = step.tensors(), []
    for group in (4, 3, 1):
        step.restore(*start)
        results.append((train(step, group=group), weights(model)))
    assert step.compilations == 1
    for losses, values in results[1:]:
        np.testing.assert_array_equal(losses, results[0][0])
        assert_same(values, results[0][1], 0)
    np.testing.assert_allclose(results[0][0], reference[0], rtol=1e-5)
    assert_same(results[0][1], reference[1], 1e-5)


def test_what_uneven_use_costs_is_minimized_beside_the_tasks_and_divided_as_they_are():
    model, step = make(optimizer=Sgd(learning_rate=Constant(peak=0.02)), clip_norm=None)
    plain = step([tiny.batch(1)], [0.0], 1)
    call = model.call

    def unbalanced(batch, row_key=None):
        return {name: out | {"balance": 3 * out["weight"]} for name, out in call(batch, row_key=row_key).items()}

    model.call = unbalanced
    for settings in ({}, {"micro_batches": 4}):
        step = Step(model, step._optimizer, tiny.alone(), weights=WEIGHTS, **settings)
        found = step([tiny.batch(1)], [0.0], 1)
        np.testing.assert_allclose(found.loss, plain.loss + 3, rtol=1e-5)
        np.testing.assert_allclose((plain.balance, found.balance), ([0], [3]), rtol=1e-5)
        np.testing.assert_allclose(found.tasks["mlm"][0], plain.tasks["mlm"][0], rtol=1e-5)


def test_rows_that_do_not_divide_are_padded_with_rows_that_weigh_nothing():
    model, step = make()
    losses = train(step, rows=6)
    other, cut = make(micro_batches=4)
    np.testing.assert_allclose(train(cut, rows=6), losses, rtol=1e-5)
    assert_same(weights(other), weights(model), 1e-5)


def test_each_set_of_shapes_compiles_once():
    _, step = make()
    for s, length in enumerate((6, 4, 6, 4), 1):
        step([tiny.batch(s, length=length)], [0.01], s)
    step([tiny.batch(9, tasks=("nsp",))], [0.01], 5)
    assert step.compilations == 3


def test_the_loss_is_the_weighted_sum_of_each_tasks_own_mean():
    model, step = make()
    batch = tiny.batch(3)
    rows = EvaluationStep(model, tiny.alone())(batch)
    model.dropout = 0.0
    sums = step([batch], [0.0], 1)
    expected = sum(w * rows[t]["loss"].sum() / max(rows[t]["weight"].sum(), 1e-9) for t, w in WEIGHTS.items())
    np.testing.assert_allclose(sums.loss[0], expected, rtol=1e-5)
    for task in WEIGHTS:
        loss, weight, correct = (value[0] for value in sums.tasks[task])
        np.testing.assert_allclose([loss, weight, correct], [rows[task][k].sum() for k in ("loss", "weight", "correct")], rtol=1e-5)


def test_a_task_that_is_absent_from_a_batch_has_no_part_in_the_step():
    model, step = make(AdamW(learning_rate=Constant(peak=0.02), weight_decay=0.0))
    before = weights(model)
    sums = step([tiny.batch(1, tasks=("nsp",))], [0.02], 1)
    assert set(sums.tasks) == {"nsp"}
    np.testing.assert_array_equal(model.named["heads.mlm.bias"].numpy(), before["heads.mlm.bias"])
    assert (model.named["heads.nsp.classifier.kernel"].numpy() != before["heads.nsp.classifier.kernel"]).any()


def test_the_global_norm_is_clipped():
    moved = []
    for clip in (1e-3, None):
        model, step = make(Sgd(learning_rate=Constant(peak=1.0)), clip_norm=clip)
        before = weights(model)
        norm = step([tiny.batch(1)], [1.0], 1).gradient_norm[0]
        after = weights(model)
        moved.append(np.sqrt(sum(np.sum((after[n] - before[n]) ** 2) for n in before)))
    np.testing.assert_allclose(moved, [1e-3, norm], rtol=1e-3)


def test_a_checkpoint_holds_averages_beside_what_is_trained_however_steps_are_cut(reference):
    found = []
    for settings in ({}, {"micro_batches": 4}, {"xla": True, "steps_per_call": 4}):
        model, step = make(ema=Ema(decay=0.8), **settings)
        np.testing.assert_allclose(train(step, group=step.steps_per_call), reference[0], rtol=1e-5)
        assert_same(weights(model), reference[1], 1e-5)
        averages, slots = step.tensors()
        assert_same({name: slots[f"{name}/twin"] for name in averages}, weights(model), 0)
        found.append(averages)
        assert_same(averages, found[0], 1e-5)
    with step._optimizer.averaged():
        assert_same(weights(model), averages, 0)
    assert max(np.abs(averages[name] - reference[1][name]).max() for name in averages) > 1e-3


@pytest.mark.parametrize("xla", [False, True])
def test_a_step_that_is_not_finite_changes_nothing_and_neither_do_those_after_it(xla):
    _, step = make(xla=xla, steps_per_call=4, ema=Ema(decay=0.9))
    start, batches = step.tensors(), [tiny.batch(s) for s in range(1, 5)]
    step(batches[:2], [0.02] * 2, 1)
    expected = step.tensors()
    step.restore(*start)
    batches[2]["nsp/weights"] = np.full_like(batches[2]["nsp/weights"], np.nan)
    sums = step(batches, [0.02] * 4, 1)
    assert sums.outcome[:3].tolist() == [Outcome.LEARNED, Outcome.LEARNED, Outcome.NOT_FINITE]
    for part, wanted in zip(step.tensors(), expected, strict=True):
        assert_same(part, wanted, 0)


@pytest.mark.parametrize(
    "settings", [{}, {"xla": True}, {"steps_per_call": 4}, {"xla": True, "steps_per_call": 4}, {"micro_batches": 4, "loss_scaling": True}]
)
def test_a_trial_of_memory_runs_the_program_that_trains_and_changes_nothing(settings):
    _, step = make(ema=Ema(decay=0.9), **settings)
    before = step.tensors()
    not_finite = tiny.batch(1) | {"nsp/weights": np.full((8,), np.nan, "float32")}
    for batch in (tiny.batch(1), not_finite):
        step.try_memory(batch)
        for part, wanted in zip(step.tensors(), before, strict=True):
            assert_same(part, wanted, 0)
    assert step([tiny.batch(1)], [0.02], 1).outcome.tolist() == [Outcome.LEARNED] and step.compilations == 1
    assert any((step.tensors()[0][name] != value).any() for name, value in before[0].items())


def test_the_first_that_is_not_finite_may_be_a_weight_whose_average_is_or_a_slot():
    model, step = make(ema=Ema(decay=0.9))
    start = step.tensors()
    model.named["heads.mlm.bias"].assign(np.full(tiny.VOCABULARY, np.inf))
    assert step.first_not_finite(tiny.batch(1)) == "heads.mlm.bias"
    slot = "encoder.layers.0.feed_forward.up.bias/m"
    step.restore(start[0], start[1] | {slot: np.full(tiny.WIDTH, np.nan)})
    assert step.first_not_finite(tiny.batch(1)) == f"optimizer slot {slot}"


def test_a_norm_that_overflows_is_told_by_the_largest_gradient():
    model, step = make()
    kernel = model.named["heads.nsp.classifier.kernel"]
    kernel.assign(kernel.value * 1e22)  # what comes back to the layers below is as large: it is finite, and its square is not
    batch = tiny.batch(1)
    sums = step([batch], [0.02], 1)
    assert np.isfinite(sums.loss[0]) and np.isinf(sums.gradient_norm[0])
    name = step.first_not_finite(batch)
    assert name.startswith("gradient of ") and name.endswith(", which is finite and too large to be squared")


def test_evaluation_gives_a_result_for_each_row_and_uses_no_dropout():
    model, _ = make()
    evaluate = EvaluationStep(model, tiny.alone())
    whole, part = evaluate(tiny.batch(1)), evaluate({k: v[:3] if v.ndim else v for k, v in tiny.batch(1).items()})
    assert whole["mlm"]["predicted"].shape == (8, tiny.MASKED)
    np.testing.assert_allclose(whole["nsp"]["loss"][:3], part["nsp"]["loss"], rtol=1e-6)
