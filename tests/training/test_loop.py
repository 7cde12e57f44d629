"""The loop: everything on its grid of steps, and a run that stops and goes on is the run that never stopped."""

import errno
import importlib.util
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmkit.checkpoints import own
from lmkit.errors import DataError, Interrupted, MachineError, NumericsError
from lmkit.tasks.spec import MaskedLm, NextSentence
from lmkit.training import tags
from lmkit.training.bad_steps import END, OFF, Passed, Policy, still_needed
from lmkit.training.build import build_optimizer
from lmkit.training.checkpointing import Checkpoints
from lmkit.training.evaluate import evaluate
from lmkit.training.hooks import Hooks
from lmkit.training.loop import Trainer
from lmkit.training.plan import Plan
from lmkit.training.progress import RunState
from lmkit.training.spec import AdamW, Constant, Ema, Sgd
from lmkit.training.step import EvaluationStep, Step

spec = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)

TASKS = {"mlm": MaskedLm(), "nsp": NextSentence(weight=0.5)}
WEIGHTS = {name: task.weight for name, task in TASKS.items()}
SIZES = {"mlm": tiny.VOCABULARY, "nsp": 2}


class Recorder:
    """Keeps what a run said; `stop_at` asks to stop once so many steps are done."""

    def __init__(self, stop_at=None):
        self.points, self.snapshots, self.best, self.stop_at, self.polls = [], [], [], stop_at, 0
        self.said, self.reports = [], []
        self.hooks = Hooks(
            log=self.log,
            save=self.save,
            restore=self.restore,
            report=self.reports.append,
            say=self.said.append,
            stop=self.stop,
            progress=self.progress,
        )
        self.step = 0

    def log(self, step, scalars):
        assert all(tags.find(tags.split(tag)[1]) for tag in scalars)
        self.points.append((step, {tag: value for tag, value in scalars.items() if not tags.is_timed(tags.split(tag)[1])}))

    def save(self, snapshot, *, best):
        self.snapshots.append((snapshot.step, json.dumps(snapshot.state), snapshot))
        self.best += [snapshot.step] if best else []

    def restore(self, step):
        kept = [snapshot for snapshot in self.snapshots if snapshot[0] <= step]
        if not kept:
            return None
        self.snapshots, state = kept, json.loads(kept[-1][1])
        self.points = [(at, point) for at, point in self.points if at <= (state["step"] if "train/loss" in point else state["evaluated"])]
        self.tensors(kept[-1][2].model, kept[-1][2].optimizer)
        return state

    def stop(self):
        self.polls += 1
        return self.stop_at is not None and self.step >= self.stop_at

    def progress(self, step, total, scalars):
        self.step = step


class Run:
    """One process of a run: fresh, or continued from a recorder's last snapshot."""

    step = None  # compiled once for the whole file; restored to the start before each use
    rule, clip_norm = AdamW(learning_rate=Constant(peak=0.02)), 1.0

    def __init__(self, plan, after=None, stop_at=None, batch_at=None, validation=True, **options):
        kind = type(self)
        if kind.step is None:
            model = tiny.TinyModel()
            optimizer = build_optimizer(kind.rule, model.named, ema=Ema(decay=0.9), replicas=tiny.alone())
            kind.step = Step(model, optimizer, tiny.alone(), weights=WEIGHTS, clip_norm=kind.clip_norm, steps_per_call=4)
            kind.evaluation, kind.start = EvaluationStep(model, tiny.alone()), kind.step.tensors()
        state, tensors = None, kind.start
        if after is not None:
            _, text, snapshot = after.recorder.snapshots[-1]
            state, tensors = RunState.from_json(json.loads(text)), (snapshot.model, snapshot.optimizer)
        kind.step.restore(*tensors)
        self.recorder = Recorder(stop_at)
        self.recorder.tensors = kind.step.restore
        validation_batches = [tiny.batch(1000 + i) for i in range(3)]

        def figures(stop):
            return evaluate(kind.evaluation, validation_batches, TASKS, label_counts=SIZES, stop=stop)

        self.trainer = Trainer(
            kind.step,
            plan,
            batch_at=batch_at or (lambda i: tiny.batch(i, length=6 if i % 5 else 4)),
            rate_at=kind.rate_at,
            weights=WEIGHTS,
            evaluate=figures if validation else None,
            hooks=self.recorder.hooks,
            state=state,
            steps_per_epoch=10,
            **options,
        )

    @staticmethod
    def rate_at(step):
        return 0.02 / step

    def train(self):
        self.trainer.train()
        return self


class Plain(Run):
    """Nothing softens what a batch does."""

    step = None
    rule, clip_norm = Sgd(learning_rate=Constant(peak=0.2)), None

    @staticmethod
    def rate_at(step):
        return 0.2


PLAN = Plan(steps=23, log_every=4, evaluate_every=6, save_every=5, save_minutes=None)


@pytest.fixture(scope="module")
def straight():
    return Run(PLAN).train()


def test_points_evaluations_and_saves_stand_on_their_grids(straight):
    recorder = straight.recorder
    assert [s for s, point in recorder.points if "train/loss" in point] == [4, 8, 12, 16, 20, 23]
    assert [s for s, point in recorder.points if "validation/loss" in point] == [6, 12, 18, 23]
    assert {5, 10, 15, 20, 23} <= {s for s, _, _ in recorder.snapshots}


def test_one_point_of_the_curves_says_all_about_its_window(straight):
    _, point = straight.recorder.points[0]
    assert set(point) == {
        f"train/{name}"
        for name in ("loss", "mlm/loss", "mlm/accuracy", "nsp/loss", "nsp/accuracy", "gradient_norm", "learning_rate", "tokens", "epoch")
    }
    assert point["train/tokens"] == 4 * 8 * 6 - 8 * 2
    np.testing.assert_allclose(point["train/loss"], point["train/mlm/loss"] + 0.5 * point["train/nsp/loss"])


@pytest.mark.parametrize("stops", [(1,), (6,), (3, 7, 8, 17), (22,)])
def test_a_run_that_stops_and_goes_on_gives_the_same_bits_and_curves(stops, straight):
    points, run = [], None
    for stop_at in stops:
        run = Run(PLAN, after=run, stop_at=stop_at)
        with pytest.raises(Interrupted):
            run.train()
        assert run.trainer.state.step == run.recorder.snapshots[-1][0]
        points += run.recorder.points
    run = Run(PLAN, after=run).train()
    assert points + run.recorder.points == straight.recorder.points
    for part in ("model", "optimizer"):
        for name, tensor in getattr(run.recorder.snapshots[-1][2], part).items():
            np.testing.assert_array_equal(tensor, getattr(straight.recorder.snapshots[-1][2], part)[name], err_msg=name)
    assert run.recorder.snapshots[-1][1] == straight.recorder.snapshots[-1][1]


def test_a_stop_during_an_evaluation_leaves_it_to_the_next_start():
    plan = Plan(steps=6, log_every=10, evaluate_every=6, save_every=None)
    run = Run(plan)
    run.recorder.stop_at = 6
    with pytest.raises(Interrupted):
        run.train()
    assert not any("validation/loss" in point for _, point in run.recorder.points)
    again = Run(plan, after=run).train()
    assert [s for s, point in again.recorder.points if "validation/loss" in point] == [6]


def test_an_evaluation_alone_that_is_stopped_says_that_nothing_is_lost():
    with pytest.raises(Interrupted, match="stopped while evaluating; nothing is lost"):
        evaluate(lambda batch: {}, [{}], TASKS, label_counts=SIZES, stop=lambda: True)


def test_the_best_checkpoint_is_the_one_with_the_lowest_validation_loss(straight):
    losses = {s: point["validation/loss"] for s, point in straight.recorder.points if "validation/loss" in point}
    assert straight.recorder.best[-1] == min(losses, key=losses.get)


def test_training_stops_early_after_so_many_evaluations_without_improvement():
    run = Run(Plan(steps=50, evaluate_every=2, patience=2, min_delta=100.0)).train()
    assert run.trainer.state.step == 6 and run.trainer.is_done
    assert Run(Plan(steps=50, evaluate_every=2, patience=2, min_delta=100.0), after=run).train().trainer.state.step == 6


def test_a_figure_that_should_grow_is_watched_upwards():
    state = RunState(step=1)
    assert [state.improved(v, higher_is_better=True, min_delta=0.1) for v in (0.5, 0.55, 0.7, float("nan"))] == [True, False, True, False]
    assert (state.best, state.waited) == (0.7, 1)


def test_minutes_save_without_changing_the_curves(straight):
    ticks = iter(range(10**6))
    plan = Plan(steps=23, log_every=4, evaluate_every=6, save_every=None, save_minutes=0.05)
    run = Run(plan, clock=lambda: float(next(ticks))).train()
    assert len(run.recorder.snapshots) > 4
    assert run.recorder.points == straight.recorder.points


def poisoned(*bad, value=np.nan):
    def batch_at(i):
        batch = tiny.batch(i, length=6 if i % 5 else 4)
        if i + 1 in bad:
            batch["nsp/weights"][:] = value
        return batch

    return batch_at


def same_end(one, other):
    assert one.recorder.snapshots[-1][1] == other.recorder.snapshots[-1][1]
    for part in ("model", "optimizer"):
        for name, tensor in getattr(one.recorder.snapshots[-1][2], part).items():
            np.testing.assert_array_equal(tensor, getattr(other.recorder.snapshots[-1][2], part)[name], err_msg=name)


def test_a_step_that_is_not_finite_ends_the_run_before_it_is_applied_and_says_all_that_is_known():
    run = Run(Plan(steps=20, log_every=1, save_every=None), batch_at=poisoned(8), validation=False)
    with pytest.raises(NumericsError, match=r"step 8 .*nsp nan.*all steps before it are saved; training.non_finite: skip"):
        run.train()
    assert run.recorder.points[-1][0] == 7 and run.recorder.snapshots[-1][0] == 7
    assert all(np.isfinite(tensor).all() for tensor in Run.step.tensors()[0].values())
    (report,) = run.recorder.reports
    assert (report["step"], report["tasks"]["nsp"], report["gradient_norm"]) == (8, "nan", "nan")
    assert report["first_not_finite"] == "nsp/weights of the batch"
    json.dumps(report, allow_nan=False)


def test_where_weights_and_batch_are_finite_the_first_gradient_that_is_not_is_named():
    def overflowing(i):
        return poisoned(3, value=1e38)(i) | ({"nsp/denominator": np.float32(1e-30)} if i == 2 else {})

    run = Run(Plan(steps=20, save_every=None), batch_at=overflowing, validation=False)
    with pytest.raises(NumericsError):
        run.train()
    assert run.recorder.reports[0]["first_not_finite"] == "gradient of embeddings.token.embedding"


SKIP = Policy("non_finite", "skip", at_most=3)
BACK = Policy("non_finite", "rollback", at_most=2, steps=5)
BAD = {"skip": (SKIP, (1, 7, 8)), "rollback": (BACK, (11, 19)), "rollback to the beginning": (BACK, (2, 3))}


@pytest.mark.parametrize("case", BAD)
def test_a_run_with_bad_steps_ends_with_the_same_bits_and_curves_wherever_it_was_killed_or_stopped(case):
    policy, bad = BAD[case]
    plan = replace(PLAN, non_finite=policy)
    straight = Run(plan, batch_at=poisoned(*bad)).train()
    assert straight.trainer.state.skipped == (
        3 if policy is SKIP else len({step for last in bad for step in range(max(1, last - 4), last + 1)})
    )
    assert [s for s, point in straight.recorder.points if "train/tokens" in point] == [4, 8, 12, 16, 20, 23]
    for stop_at in (1, 6, 10, 11, 13, 18, 20):
        stopped = Run(plan, batch_at=poisoned(*bad), stop_at=stop_at)
        with pytest.raises(Interrupted):
            stopped.train()
        again = Run(plan, batch_at=poisoned(*bad), after=stopped)
        again.recorder.snapshots, again.recorder.points = stopped.recorder.snapshots, stopped.recorder.points
        again.train()
        same_end(again, straight)
        assert again.recorder.points == straight.recorder.points
    for kept in range(1, len(straight.recorder.snapshots)):
        killed = Run(plan)
        killed.recorder.snapshots = straight.recorder.snapshots[:kept]
        again = Run(plan, batch_at=poisoned(*bad), after=killed)
        again.recorder.snapshots = list(killed.recorder.snapshots)
        same_end(again.train(), straight)


@pytest.mark.parametrize("policy", [SKIP, BACK])
def test_bad_steps_give_the_same_bits_however_steps_are_grouped_into_calls_and_saves(policy):
    plan = replace(PLAN, non_finite=policy, patience=None)
    one, other = (Run(replace(plan, save_every=every), batch_at=poisoned(7, 15)).train() for every in (1, 8))
    for part in ("model", "optimizer"):
        for name, tensor in getattr(one.recorder.snapshots[-1][2], part).items():
            np.testing.assert_array_equal(tensor, getattr(other.recorder.snapshots[-1][2], part)[name], err_msg=name)
    assert one.recorder.points == other.recorder.points


def test_a_skipped_step_changes_nothing_and_is_counted():
    run = Run(Plan(steps=9, log_every=3, save_every=1, non_finite=SKIP), batch_at=poisoned(5, 7, 8, 9), validation=False)
    with pytest.raises(NumericsError, match=r"step 9 .*training.non_finite.at_most = 3 of 1,000 steps are used up"):
        run.train()
    before, after = (dict((s, snapshot) for s, _, snapshot in run.recorder.snapshots)[step] for step in (4, 5))
    assert all(np.array_equal(after.model[name], before.model[name]) for name in before.model)
    assert [(s, point.get("train/skipped_steps")) for s, point in run.recorder.points] == [(3, None), (6, 1.0)]
    assert [line.rpartition(": ")[2] for line in run.recorder.said] == ["passed over"] * 3 and "step 5 gave" in run.recorder.said[0]


def test_a_rollback_learns_nothing_from_the_last_steps_and_keeps_the_best_so_far():
    plan = replace(PLAN, evaluate_every=2, non_finite=BACK)
    run = Run(plan, batch_at=poisoned(14)).train()
    assert [(one.first, one.last) for one in run.trainer.state.passed] == [(10, 14)]
    assert len(run.recorder.said) == 1 and "going on from step 8, without steps 10 to 14" in run.recorder.said[0]
    losses = [point["validation/loss"] for s, point in run.recorder.points if s in (10, 12, 14) and "validation/loss" in point]
    assert len(losses) == 3 and len(set(losses)) == 1, "no weight changes in steps that are passed over"
    assert run.recorder.best == sorted(set(run.recorder.best)), "no step is made the best twice"


def test_of_many_skips_those_are_remembered_that_count_or_may_come_again():
    every = [Passed(step, step, "skip", "non_finite") for step in range(1, 10_001, 100)]
    back = Passed(3, 8, "rollback", "loss_spikes")
    for reach, kept in ((0, 10), (3000, 30)):
        found = still_needed([back, *every], 10_000, reach)
        assert found == [back, *every[-kept:]]
    policy = Policy("non_finite", "skip", at_most=10)
    assert policy.spent(every, 10_000) == policy.spent(still_needed(every, 10_000, 0), 10_000) != ""


def test_a_run_forgets_skips_that_are_long_behind(monkeypatch):
    monkeypatch.setattr("lmkit.training.bad_steps.RECENT", 4)
    run = Run(replace(PLAN, non_finite=SKIP), batch_at=poisoned(2, 8, 14, 20)).train()
    assert [one.first for one in run.trainer.state.passed] == [20] and run.trainer.state.skipped == 4


def test_more_rollbacks_than_allowed_end_the_run():
    run = Run(replace(PLAN, non_finite=replace(BACK, at_most=1)), batch_at=poisoned(8, 16))
    with pytest.raises(NumericsError, match=r"step 16 .*at_most = 1 rollbacks are used up"):
        run.train()


def thrown_away(tmp_path, policy, save_every, at=8):
    """A run on disk whose learning rate is infinite once: the weights behind that step are not finite, its loss and gradients are."""
    run = Run(Plan(steps=12, save_every=save_every, non_finite=policy), validation=False)
    saved = Checkpoints(tmp_path, keep=9, reach=policy.steps, facts={})

    def restore(step):
        found = saved.back_to(step)
        if found is not None:
            Run.step.restore(found.model, found.optimizer)
        return found and found.state

    run.trainer._hooks = replace(run.recorder.hooks, save=saved, settle=saved.settle, restore=restore)
    run.trainer._rate_at = lambda step: np.inf if step == at else 0.02
    return run


@pytest.mark.parametrize("save_every", [4, 5])
def test_the_report_is_written_before_a_save_that_cannot_succeed(tmp_path, save_every):
    run = thrown_away(tmp_path, END, save_every)
    with pytest.raises(NumericsError, match="is not finite at step 8; it is not saved"):
        run.train()
    (report,) = run.recorder.reports
    assert report["step"] == 9 and report["first_not_finite"] == "embeddings.token.embedding"


def test_weights_that_are_not_finite_are_gone_back_from_wherever_saves_fall(tmp_path):
    ends = []
    for save_every in (1, 4, 5):
        run = thrown_away(tmp_path / str(save_every), BACK, save_every).train()
        assert [line.partition(": ")[2] for line in run.recorder.said] == ["going on from step 4, without steps 5 to 9"] or save_every == 5
        ends.append(Run.step.tensors())
        assert max(own.steps(tmp_path / str(save_every) / "checkpoints")) == 12
    for end in ends[1:]:
        for part, wanted in zip(end, ends[0], strict=True):
            for name, tensor in wanted.items():
                np.testing.assert_array_equal(part[name], tensor, err_msg=name)


def test_a_last_step_whose_weights_are_not_finite_is_gone_back_from_or_ends_the_run(tmp_path):
    run = thrown_away(tmp_path / "back", BACK, 5, at=12).train()
    first = "embeddings.token.embedding"
    what = f"step 12 left {first} not finite, though its loss and gradients are finite"
    assert run.recorder.said == [f"{what}: going on from step 5, without steps 8 to 12"]
    assert own.steps(tmp_path / "back" / "checkpoints")[-1] == 12 and Run.step.broken is None
    run = thrown_away(tmp_path / "end", END, 5, at=12)
    with pytest.raises(NumericsError, match=f"{what}; it is not saved and the checkpoint before it is intact; .*rollback"):
        run.train()
    assert run.recorder.reports == [{"step": 12, "first_not_finite": "embeddings.token.embedding"}]
    assert own.steps(tmp_path / "end" / "checkpoints") == [5, 10]


def test_what_is_not_finite_and_harms_no_loss_is_neither_evaluated_nor_saved():
    def run():
        left = [6]

        def progress(step, total, scalars):
            if step in left:
                left.remove(step)
                slot = next(slot for name, slot in Run.step._optimizer.slots.items() if name.endswith("/twin"))
                slot.assign(np.full(slot.shape, np.inf, "float32"))

        found = Run(replace(PLAN, non_finite=BACK))
        found.trainer._hooks = replace(found.recorder.hooks, progress=progress)
        return found

    found = run().train()
    assert len(found.recorder.said) == 1 and "step 6 left optimizer slot" in found.recorder.said[0]
    assert "without steps 2 to 6" in found.recorder.said[0]
    assert all(np.isfinite(value).all() for _, _, one in found.recorder.snapshots for value in one.optimizer.values())
    assert [step for step, point in found.recorder.points if "validation/loss" in point] == [6, 12, 18, 23]


def enlarged(step, factor=1000):
    def batch_at(i):
        batch = tiny.batch(i)
        if i + 1 == step:
            batch |= {name: value / np.float32(factor) for name, value in batch.items() if name.endswith("/denominator")}
        return batch

    return batch_at


LONG = Plan(steps=150, log_every=10, evaluate_every=50, save_every=20)
PASSING, RETURNING = Policy("loss_spikes", "skip", at_most=3), Policy("loss_spikes", "rollback", at_most=3, steps=10)


@pytest.mark.parametrize("policy", [OFF, PASSING, RETURNING], ids=lambda policy: policy.kind)
def test_one_batch_with_gradients_a_thousand_times_larger_leaves_no_trace_after_fifty_steps(policy):
    clean = Plain(LONG, batch_at=tiny.batch).train().trainer.state.metrics["loss"]
    run = Plain(replace(LONG, loss_spikes=policy), batch_at=enlarged(100)).train()
    near = abs(run.trainer.state.metrics["loss"] / clean - 1) < 0.05
    assert near == (policy is not OFF)
    if policy is not OFF:
        (passed,) = run.trainer.state.passed
        assert (passed.last, passed.key, len(run.recorder.said)) == (100, "loss_spikes", 1)
        assert "mean + 6 sigma of the last 128 steps" in run.recorder.said[0]


@pytest.mark.parametrize("policy", [PASSING, RETURNING], ids=lambda policy: policy.kind)
def test_spikes_are_found_alike_wherever_a_run_is_stopped_and_however_its_steps_are_grouped(policy):
    plan = replace(LONG, loss_spikes=policy, evaluate_every=None)
    straight = Plain(plan, batch_at=enlarged(100), validation=False).train()
    for stop_at in (61, 90, 99, 100, 111):
        stopped = Plain(plan, batch_at=enlarged(100), validation=False, stop_at=stop_at)
        with pytest.raises(Interrupted):
            stopped.train()
        again = Plain(plan, batch_at=enlarged(100), validation=False, after=stopped)
        again.recorder.snapshots = stopped.recorder.snapshots
        same_end(again.train(), straight)
    same_end(Plain(replace(plan, save_every=1), batch_at=enlarged(100), validation=False).train(), straight)


def test_a_spike_too_many_ends_the_run_and_tells_its_limits():
    run = Plain(replace(LONG, loss_spikes=replace(PASSING, at_most=0)), batch_at=enlarged(100), validation=False)
    with pytest.raises(NumericsError, match=r"step 100 .*training.loss_spikes.at_most = 0 of 1,000 steps are used up"):
        run.train()
    (report,) = run.recorder.reports
    assert report["gradient_norm"] > report["limits"]["gradient_norm"] > 0 and report["first_not_finite"] is None


def test_who_does_not_save_makes_no_copy_of_the_tensors(monkeypatch, straight):
    run = Run(PLAN)
    run.trainer._hooks = replace(run.recorder.hooks, save=None)
    with monkeypatch.context() as patched:
        patched.setattr(Run.step, "tensors", lambda: pytest.fail("copied"))
        run.train()
    assert run.recorder.points == straight.recorder.points


def test_a_save_that_fails_beside_the_training_ends_it_and_the_checkpoint_before_is_gone_on_from(tmp_path, straight):
    def full(point):
        if "step-00000010" in point:
            raise OSError(errno.ENOSPC, "No space left on device")

    run, saved = Run(PLAN), Checkpoints(tmp_path, keep=9, facts={}, before=full)
    run.trainer._hooks = replace(run.recorder.hooks, save=saved, settle=saved.settle)
    with pytest.raises(MachineError, match="step 10 is not saved, the previous one is intact"):
        run.train()
    assert 10 <= run.trainer.state.step < 23 and max(own.steps(tmp_path / "checkpoints")) == 6
    found = Checkpoints(tmp_path, keep=9, facts={}).resume(model=Run.start[0], optimizer=Run.start[1])
    run.recorder.snapshots = [(found.step, json.dumps(found.state), found)]
    same_end(Run(PLAN, after=run).train(), straight)


def test_an_error_while_a_batch_is_made_reaches_the_caller_and_ends_the_thread():
    def broken(i):
        if i == 5:
            raise DataError("corpus.txt: gone")
        return tiny.batch(i)

    with pytest.raises(DataError, match="gone"):
        Run(Plan(steps=20), batch_at=broken, validation=False).train()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())
