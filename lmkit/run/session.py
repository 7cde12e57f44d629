"""A training session: model, step, evaluation, logs and loop put together; what it needs around it imports TensorFlow."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from lmkit.engine import devices
from lmkit.errors import Interrupted, OutOfMemory
from lmkit.inference.samples import Samples
from lmkit.inference.scoring import answer_scores
from lmkit.models.spec import FromRun
from lmkit.run.code import run_code
from lmkit.run.decision import decision_of, too_large
from lmkit.run.directory import DONE
from lmkit.run.fit import fitted
from lmkit.run.grid import plan_of, unfreeze_every
from lmkit.run.material import Material
from lmkit.run.model import build_model, variables_of
from lmkit.run.open import OpenedRun
from lmkit.run.plan import flops_of
from lmkit.run.reference import References, Referred, with_reference
from lmkit.run.room import require_room
from lmkit.run.said import Said
from lmkit.run.standing import Standing
from lmkit.run.watchdog import REPORT, Patience, watched
from lmkit.run.world import World
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
from lmkit.training.schedules import learning_rate
from lmkit.training.step import Step


class Session:
    """Everything that one process trains with; `train()` goes from where the run stands to the end of its plan.

    `text` is the resolved spec as text, `facts` what a continued run must find unchanged.
    """

    def __init__(self, spec: RunSpec, text: str, material: Material, world: World, facts: dict[str, Any]) -> None:
        self.spec, self.text, self.material = spec, text, material
        self.world, self.run, self.stop, self.console, self.replicas = world, world.run, world.stop, world.console, world.replicas
        self.decision = Decision(**self.replicas.told(asdict(decision_of(spec, material, self.run, self.replicas))))
        self.facts = facts | {"decisions": asdict(self.decision)}
        devices.set_precision(self.decision.precision)
        run_code(spec)
        with self.replicas.scope():
            self.model = build_model(spec, vocab_size=material.tokenizer.vocab_size, labels=material.batches.labels)
        self.model.score_in_chunks(self.decision.logits_chunk)
        freeze = spec.model.freeze if isinstance(spec.model, FromRun) else ()
        pace = unfreeze_every(spec, material.batches)
        self.optimizer = build_optimizer(
            spec.training.optimizer,
            variables_of(self.model),
            freeze=freeze,
            unfreeze_every=pace,
            ema=spec.training.ema,
            loss_scaling=self.decision.precision == "float16",
            replicas=self.replicas,
        )
        self.plan = plan_of(spec, material.batches)
        opened = OpenedRun(self.run, spec, material.tokenizer, self.model, material.batches.labels, 0)
        self.answering = replace(opened.answering, stop=world.asked_here)
        self.standing = Standing(world, spec, material, self.model, self.optimizer)
        self.said = Said(world, spec, text, material, self.model, Samples(spec.logging.samples, self.answering))

    def train(self) -> None:
        """Raises Interrupted after a signal, NumericsError, CheckpointError, MachineError; whatever is raised, the newest
        checkpoint and the logs up to it are whole.
        """
        spec, batches, saved, step = self.spec, self.material.batches, self.run.notes.get("saved"), None
        if spec.training.gradient_accumulation_steps == "auto" and self.replicas.told(saved) is None:
            self.decision, step = fitted(self.decision, self._step, spec, batches, self.plan.steps, self.world)
            self.facts |= {"decisions": asdict(self.decision)}
        checkpoints = Checkpoints(
            self.run.path,
            keep=spec.training.keep,
            reach=self.plan.reach,
            facts=self.facts,
            saved=lambda step: self.run.note(saved=step),
            say=self.console.err,
            beat=lambda: self.stop.heard(),
        )
        snapshot = self.standing.resumed(checkpoints, saved)
        if self.replicas.is_chief:
            size = 4 * sum(math.prod(one.shape) for one in (*variables_of(self.model).values(), *self.optimizer.slots.values()))
            require_room(self.run, self.plan, keep=spec.training.keep, size=size, snapshot=snapshot)
        facts = {"versions": self.facts["versions"], "device": asdict(devices.facts()), "decisions": self.facts["decisions"]}
        self.run.write_environment(facts)
        references = self.standing.begin_at(snapshot, xla=self.decision.xla)
        cut_back(self.run.path, snapshot.step if snapshot else 0, snapshot.state["evaluated"] if snapshot else None)
        logger = Logger(self.run.path, say=self.console.err)
        if logger.fresh:
            logger.text("spec", 0, f"```yaml\n{self.text}```")

        def before_save() -> None:
            self.run.require()
            logger.sync()

        checkpoints.before_save = before_save
        out, rate = self.console, batches.tokens_per_step
        bar = Bar(self.stop.guarding(out.write), is_terminal=out.is_terminal, width=out.width, tokens_per_step=rate)
        hang, report = spec.runtime.hang_minutes, self.run.path / REPORT if self.replicas.is_chief else None
        try:
            with watched(self.stop, hang and 60 * hang, report, self.world.alarm, lambda: self.replicas.waits) as patience:
                hooks = self._hooks(checkpoints, logger, bar, patience)
                state = self._trainer(step or self._step(self.decision), snapshot, hooks, references).train()
        except Interrupted:
            self.world.asked()  # nobody leaves before the chief has saved
            raise
        except OutOfMemory as error:
            raise OutOfMemory(too_large(self.decision)) from error
        finally:
            bar.close()
            logger.close()
            checkpoints.settle(wait=True)
        self.world.asked()
        if not self.replicas.is_chief:
            return
        why = DONE if state.step >= self.plan.steps else f"{self.plan.monitor} no longer improved after step {state.best_step}"
        with self.optimizer.averaged():
            self.said.report(state, self.plan, why)
        self.run.finish(state.step, why)

    def rehearse(self, hooks: Hooks) -> None:
        """Trains from the beginning until the hooks ask to stop, or to the end of the plan; the run directory keeps nothing of it."""
        references = self.standing.begin_at(None, xla=self.decision.xla)
        with suppress(Interrupted):
            self._trainer(self._step(self.decision), None, hooks, references).train()

    def _hooks(self, checkpoints: Checkpoints, logger: Logger, bar: Bar, patience: Patience) -> Hooks:
        def progress(step: int, total: int, scalars: Scalars) -> None:
            patience.step()
            bar(step, total, scalars)

        def show(step: int) -> None:
            with self.optimizer.averaged():
                self.said.show(logger, step)

        def restore(step: int) -> dict[str, Any] | None:
            return self.standing.back_to(checkpoints, logger, step)

        hooks = Hooks(stop=self.world.asked, say=self.console.err, progress=progress, restore=restore)
        if not self.replicas.is_chief:
            return hooks
        return replace(hooks, log=logger, save=checkpoints, settle=checkpoints.settle, report=self.said.tell, after_evaluation=show)

    @property
    def _weights(self) -> dict[str, float]:
        return {name: task.weight for name, task in self.spec.tasks.items()}

    def _step(self, decision: Decision) -> Step:
        return Step(
            self.model,
            self.optimizer,
            self.replicas,
            weights=self._weights,
            clip_norm=self.spec.training.optimizer.clip_norm,
            micro_batches=decision.micro_batches,
            steps_per_call=decision.steps_per_call,
            xla=decision.xla,
        )

    def _trainer(self, step: Step, snapshot: Snapshot | None, hooks: Hooks, references: References | None) -> Trainer:
        spec, decision, batches, tokenizer = self.spec, self.decision, self.material.batches, self.material.tokenizer
        schedule = spec.training.optimizer.learning_rate
        train = references.train if references else {}
        return Trainer(
            step,
            self.plan,
            batch_at=lambda i: with_reference(batches.train(i), train),
            rate_at=lambda s: learning_rate(schedule, s, self.plan.steps),
            weights=self._weights,
            unjudged=[name for name, task in spec.tasks.items() if "accuracy" not in task.figures],
            evaluate=self._evaluation(references) if self.plan.evaluate_every else None,
            hooks=hooks,
            state=RunState.from_json(snapshot.state) if snapshot else None,
            steps_per_epoch=batches.steps_per_epoch,
            flops_per_token=flops_of(spec, tokenizer.vocab_size)["training"],
            peak_flops=devices.peak_flops(decision.precision) * self.replicas.count,
        )

    def _evaluation(self, references: References | None) -> Callable[[Stop], dict[str, float]]:
        """Figures of all validation rows, and scores of answers to some of their documents."""
        stuff, labels = self.material, self.material.batches.labels
        rows = Referred(stuff.batches.validation, references.validation if references else {})
        figures = evaluator(self.spec.tasks, self.model, rows, stuff.tokenizer, labels, self.replicas, xla=self.decision.xla)
        scores = answer_scores(self.answering, stuff.caches, self.spec.training.evaluate_documents, self.stop)

        def evaluate(stop: Stop) -> dict[str, float]:
            with self.optimizer.averaged():
                return self.replicas.told(figures(stop) | scores(stop))

        return evaluate
