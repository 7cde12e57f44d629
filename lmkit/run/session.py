"""A training session: model, step, evaluation, logs and loop put together; the first code of a run that imports TensorFlow."""

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from lmkit.checkpoints.files import write_file
from lmkit.engine import devices
from lmkit.engine import tensorflow as engine
from lmkit.errors import Interrupted, MachineError, OutOfMemory
from lmkit.inference.samples import Samples
from lmkit.inference.scoring import answer_scores
from lmkit.models.spec import FromRun
from lmkit.run.begin import begin
from lmkit.run.code import run_code
from lmkit.run.console import Console
from lmkit.run.decision import decision_of, in_smaller_parts, too_large
from lmkit.run.directory import DONE, RunDirectory
from lmkit.run.grid import plan_of, unfreeze_every
from lmkit.run.material import Material
from lmkit.run.model import build_model, variables_of
from lmkit.run.open import OpenedRun
from lmkit.run.plan import flops_of
from lmkit.run.reference import References, Referred, mark_of, preferring, referred, store, stored, with_reference
from lmkit.run.room import require_room
from lmkit.run.signals import StopRequest
from lmkit.run.watchdog import REPORT, watched
from lmkit.spec_file.spec import RunSpec
from lmkit.training.bar import Bar
from lmkit.training.build import build_optimizer
from lmkit.training.checkpointing import Checkpoints
from lmkit.training.evaluator import evaluator
from lmkit.training.hooks import Hooks, Scalars, Snapshot, Stop
from lmkit.training.logging import Logger, cut_back
from lmkit.training.loop import Trainer
from lmkit.training.precision import Decision
from lmkit.training.progress import RunState
from lmkit.training.report import loss_chart, write_report
from lmkit.training.schedules import learning_rate
from lmkit.training.step import EvaluationStep, Step

NAN_REPORT = "nan-report.json"
TRIED = 16  # batches, of which the longest is tried for memory


@dataclass(frozen=True)
class World:
    """What a session has around it: its run, who may stop it, where its words go, and its devices."""

    run: RunDirectory
    stop: StopRequest
    console: Console
    alarm: Callable[[str], None]  # says a line whichever process this is
    replicas: engine.Replicas


class Session:
    """Everything that one process trains with; `train()` goes from where the run stands to the end of its plan.

    `text` is the resolved spec as text, `facts` what a continued run must find unchanged.
    """

    def __init__(self, spec: RunSpec, text: str, material: Material, world: World, facts: dict[str, Any]) -> None:
        self.spec, self.text, self.material = spec, text, material
        self.run, self.stop, self.console = world.run, world.stop, world.console
        self.alarm, self.replicas = world.alarm, world.replicas
        self.decision = Decision(**self.replicas.told(asdict(decision_of(spec, material, self.run, self.replicas))))
        self.facts = facts | {"decisions": asdict(self.decision)}
        devices.set_precision(self.decision.precision)
        run_code(spec)
        with self.replicas.scope():
            self.model = build_model(spec, vocab_size=material.tokenizer.vocab_size, labels=material.batches.labels)
        self.model.score_in_chunks(self.decision.logits_chunk)
        self.variables = variables_of(self.model)
        self.parameters = sum(math.prod(variable.shape) for variable in self.variables.values())
        freeze = spec.model.freeze if isinstance(spec.model, FromRun) else ()
        pace = unfreeze_every(spec, material.batches)
        self.optimizer = build_optimizer(
            spec.training.optimizer,
            self.variables,
            freeze=freeze,
            unfreeze_every=pace,
            ema=spec.training.ema,
            loss_scaling=self.decision.precision == "float16",
            replicas=self.replicas,
        )
        self.plan = plan_of(spec, material.batches)
        opened = OpenedRun(self.run, spec, material.tokenizer, self.model, material.batches.labels, 0)
        self.answering = replace(opened.answering, stop=self._asked_here)
        self.samples = Samples(spec.logging.samples, self.answering)

    def train(self) -> None:
        """Raises Interrupted after a signal, NumericsError, CheckpointError, MachineError; whatever is raised, the newest
        checkpoint and the logs up to it are whole.
        """
        notes = self.run.notes
        if self.spec.training.gradient_accumulation_steps == "auto" and not self.replicas.told("saved" in notes):
            self._fit()
        checkpoints = Checkpoints(
            self.run.path,
            keep=self.spec.training.keep,
            reach=self.plan.reach,
            facts=self.facts,
            before_save=lambda: logger.sync(),
            saved=lambda step: self.run.note(saved=step),
            say=self.console.err,
            beat=lambda: self.stop.heard(),
        )
        snapshot = self._resumed(checkpoints, notes.get("saved"))
        if self.replicas.is_chief:
            size = 4 * (self.parameters + sum(math.prod(slot.shape) for slot in self.optimizer.slots.values()))
            require_room(self.run, self.plan, keep=self.spec.training.keep, size=size, snapshot=snapshot)
        self._begin_at(snapshot)
        cut_back(self.run.path, snapshot.step if snapshot else 0, snapshot.state["evaluated"] if snapshot else None)
        logger = Logger(self.run.path, say=self.console.err)
        if logger.fresh:
            logger.text("spec", 0, f"```yaml\n{self.text}```")
        console, rate = self.console, self.material.batches.tokens_per_step
        bar = Bar(self.stop.guarding(console.write), is_terminal=console.is_terminal, width=console.width, tokens_per_step=rate)
        hang = self.spec.runtime.hang_minutes

        def progress(step: int, total: int, scalars: Scalars) -> None:
            patience.step()
            bar(step, total, scalars)

        hooks = Hooks(stop=self._asked, say=console.err, progress=progress)
        hooks = replace(hooks, restore=lambda step: self._restored(checkpoints, logger, step))
        if self.replicas.is_chief:
            hooks = replace(hooks, log=logger, save=checkpoints, settle=checkpoints.settle, report=self._tell)
            hooks = replace(hooks, after_evaluation=lambda step: self._show(logger, step))
        try:
            report = self.run.path / REPORT if self.replicas.is_chief else None
            with watched(self.stop, hang and 60 * hang, report, self.alarm, lambda: self.replicas.waits) as patience:
                state = self._trainer(snapshot, hooks).train()
        except Interrupted:
            self._asked()  # nobody leaves before the chief has saved
            raise
        except OutOfMemory as error:
            raise OutOfMemory(too_large(self.decision)) from error
        finally:
            bar.close()
            logger.close()
            checkpoints.settle(wait=True)
        self._asked()
        if not self.replicas.is_chief:
            return
        why = DONE if state.step >= self.plan.steps else f"{self.plan.monitor} no longer improved after step {state.best_step}"
        with self.optimizer.averaged():
            self._report(state, why)
        self.run.finish(state.step, why)

    def rehearse(self, hooks: Hooks) -> None:
        """Trains from the beginning until the hooks ask to stop, or to the end of the plan; the run directory keeps nothing of it."""
        self._begin_at(None)
        with suppress(Interrupted):
            self._trainer(None, hooks).train()

    def _fit(self) -> None:
        """Tries the step of a long batch, in smaller micro-batches until it has room. Raises OutOfMemory."""
        batches = self.material.batches
        batch = max((batches.train(i) for i in range(min(self.plan.steps, TRIED))), key=lambda one: one["tokens"].size)
        while True:
            try:
                self._step.try_memory(batch)
                short = False
            except OutOfMemory:
                short = True
            if not self.replicas.any(short):
                return
            smaller = in_smaller_parts(self.decision, self.spec, self.run, self.replicas)
            if smaller is None:
                raise OutOfMemory(too_large(self.decision))
            self.console.err(f"a step in {self.decision.micro_batches} micro-batches has not enough memory; trying {smaller.micro_batches}")
            self.decision = smaller
            self.facts |= {"decisions": asdict(smaller)}
            del self._step

    def _asked(self) -> bool:
        """Whether any process was asked to stop."""
        return self.replicas.any(self.stop())

    def _asked_here(self) -> bool:
        """The same between collectives, whose order must be that of the other processes: where there are some, nobody stops here."""
        return self.stop() and self.replicas.kind != "multi_worker"

    def _resumed(self, checkpoints: Checkpoints, saved: int | None) -> Snapshot | None:
        """Where the run stands; the tensors only in the chief, who alone has checkpoints."""
        found = None
        if self.replicas.is_chief:
            found = checkpoints.resume(model=self.variables, optimizer=self.optimizer.slots, saved=saved)
        told = self.replicas.told(found and {"step": found.step, "state": found.state, "metrics": dict(found.metrics)})
        return found or (told and Snapshot(**told, model={}, optimizer={}))

    def _restored(self, checkpoints: Checkpoints, logger: Logger, step: int) -> dict[str, Any] | None:
        """Goes back to a checkpoint of `step` or before it, in all processes; gives where the run stands then."""
        found = checkpoints.back_to(step) if self.replicas.is_chief else None
        if found is not None:
            self.optimizer.restore(found.model, found.optimizer)
            logger.cut_back(found.step, found.state["evaluated"])
        state = self.replicas.told(found and found.state)
        self.replicas.align([*self.variables.values(), *self.optimizer.slots.values()])
        return state

    def _tell(self, facts: Mapping[str, Any]) -> None:
        """Writes what is known of the step that ends the run, and of the texts in it, as far as the disk takes it."""
        known = {**facts, "documents": self.material.batches.documents(facts["step"] - 1)}
        path = self.run.path / NAN_REPORT
        try:
            write_file(path, json.dumps(known, indent=1, allow_nan=False) + "\n")
            self.console.err(f"{path} says what is known of step {facts['step']}")
        except MachineError as error:
            self.console.err(str(error))

    def _begin_at(self, snapshot: Snapshot | None) -> None:
        """Fills weights and slots from the snapshot, or the body from the run that it comes from."""
        self.run.write_environment(
            {"versions": self.facts["versions"], "device": asdict(devices.facts()), "decisions": self.facts["decisions"]}
        )
        names = preferring(self.spec)
        self.references = stored(self.run, self.material.fingerprints, self.console.err) if snapshot is not None and names else None
        if snapshot is None or (names and self.references is None):
            begin(self.spec, self.model, self.variables, vocab_size=self.material.tokenizer.vocab_size, say=self.console.err)
        self.optimizer.begin()
        if names and self.references is None:
            self.references = self._referred(names)
        if snapshot is not None and self.replicas.is_chief:
            self.optimizer.restore(snapshot.model, snapshot.optimizer)
            self.console.err(f"going on from step {snapshot.step}")
        self.replicas.align([*self.variables.values(), *self.optimizer.slots.values()])

    def _referred(self, names: list[str]) -> References:
        """What the model, which is as it begins, says of every answer; kept for the next start."""
        data = self.material.fingerprints
        mark = mark_of({name: engine.as_numpy(variable) for name, variable in self.variables.items()}, data)
        found = stored(self.run, data, self.console.err, mark=mark)
        if found is None:
            self.console.err(f"asking the model what it thinks of all answers, as the reference of {', '.join(names)}")
            step = EvaluationStep(self.model, self.replicas, xla=self.decision.xla)
            found = referred(step, self.material.batches, names, self._asked)
            store(self.run, mark, data, found)
        return found

    @property
    def _weights(self) -> dict[str, float]:
        return {name: task.weight for name, task in self.spec.tasks.items()}

    @cached_property
    def _step(self) -> Step:
        """What is compiled for a trial of memory trains as well; made anew where the decision changes."""
        return Step(
            self.model,
            self.optimizer,
            self.replicas,
            weights=self._weights,
            clip_norm=self.spec.training.optimizer.clip_norm,
            micro_batches=self.decision.micro_batches,
            steps_per_call=self.decision.steps_per_call,
            xla=self.decision.xla,
        )

    def _trainer(self, snapshot: Snapshot | None, hooks: Hooks) -> Trainer:
        spec, decision, batches, tokenizer = self.spec, self.decision, self.material.batches, self.material.tokenizer
        schedule = spec.training.optimizer.learning_rate
        train = self.references.train if self.references else {}
        return Trainer(
            self._step,
            self.plan,
            batch_at=lambda i: with_reference(batches.train(i), train),
            rate_at=lambda s: learning_rate(schedule, s, self.plan.steps),
            weights=self._weights,
            unjudged=[name for name, task in spec.tasks.items() if "accuracy" not in task.figures],
            evaluate=self._evaluation() if self.plan.evaluate_every else None,
            hooks=hooks,
            state=RunState.from_json(snapshot.state) if snapshot else None,
            steps_per_epoch=batches.steps_per_epoch,
            flops_per_token=flops_of(spec, tokenizer.vocab_size)["training"],
            peak_flops=devices.peak_flops(decision.precision) * self.replicas.count,
        )

    def _evaluation(self) -> Callable[[Stop], dict[str, float]]:
        """Figures of all validation rows, and scores of answers to some of their documents."""
        stuff, labels = self.material, self.material.batches.labels
        rows = Referred(stuff.batches.validation, self.references.validation if self.references else {})
        figures = evaluator(self.spec.tasks, self.model, rows, stuff.tokenizer, labels, self.replicas, xla=self.decision.xla)
        scores = answer_scores(self.answering, stuff.caches, self.spec.training.evaluate_documents, self.stop)

        def evaluate(stop: Stop) -> dict[str, float]:
            with self.optimizer.averaged():
                return self.replicas.told(figures(stop) | scores(stop))

        return evaluate

    def _show(self, logger: Logger, step: int) -> None:
        """Samples and histograms after an evaluation."""
        with self.optimizer.averaged():
            if self.spec.logging.samples:
                logger.text("samples", step, self.samples.markdown())
            if self.spec.logging.histograms:
                logger.histograms(step, {name: engine.as_numpy(variable) for name, variable in self.variables.items()})

    def _report(self, state: RunState, why: str) -> None:
        """report.md, and the same in short for the terminal."""
        drawn = self.samples.texts()
        facts = {"parameters": f"{self.parameters:,}", "steps": f"{state.step:,}", "ended": why, "tokens": f"{state.tokens:,}"}
        path = write_report(self.run.path, title=self.spec.name, spec=self.text, facts=facts, samples=drawn)
        for line in loss_chart(self.run.path, width=min(self.console.width, 100)):
            self.console.out(line)
        if why != DONE:
            self.console.out(f"stopped early at step {state.step} of {self.plan.steps}: {why}; the best checkpoint is the one that is used")
        for name, value in state.metrics.items():
            self.console.out(f"validation {name}: {value:.4f}")
        for prompt, continuation in drawn.items():
            self.console.out(f"sample: {prompt}{continuation}")
        self.console.out(f"{path} tells the whole; tensorboard --logdir {self.run.path / 'tensorboard'} shows the curves")
