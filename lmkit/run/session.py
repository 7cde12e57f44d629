"""A training session: model, step, evaluation, logs and loop put together; the first code of a run that imports TensorFlow."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmkit.checkpoints.find import read_model
from lmkit.engine import devices
from lmkit.engine import tensorflow as engine
from lmkit.heads.model import Model
from lmkit.models.derive import resolved
from lmkit.models.spec import FromRun
from lmkit.run.body import body_of
from lmkit.run.console import Console
from lmkit.run.directory import DONE, RunDirectory
from lmkit.run.evaluator import evaluator
from lmkit.run.grid import plan_of
from lmkit.run.material import Material
from lmkit.run.model import build_model, take_over, variables_of
from lmkit.run.plan import flops_of
from lmkit.run.samples import Samples
from lmkit.run.signals import StopRequest
from lmkit.run.spec import RunSpec
from lmkit.training.bar import Bar
from lmkit.training.build import build_optimizer
from lmkit.training.checkpointing import Checkpoints, newest_facts
from lmkit.training.hooks import Hooks
from lmkit.training.logging import Logger, cut_back
from lmkit.training.loop import Trainer
from lmkit.training.precision import Decision, activation_bytes, decide
from lmkit.training.progress import RunState
from lmkit.training.report import loss_chart, write_report
from lmkit.training.schedules import learning_rate
from lmkit.training.step import Step


@dataclass(frozen=True)
class World:
    """What a session has around it: its run, who may stop it, and where its words go."""

    run: RunDirectory
    stop: StopRequest
    console: Console


def train(spec: RunSpec, text: str, material: Material, world: World, *, facts: dict[str, Any]) -> None:
    """Trains from where the run stands to the end of its plan, then writes the report.

    `text` is the resolved spec as text, `facts` what a continued run must find unchanged. Raises Interrupted after a signal,
    NumericsError, CheckpointError, MachineError; whatever is raised, the newest checkpoint and the logs up to it are whole.
    """
    run, console, notes = world.run, world.console, world.run.notes
    devices.configure(replicas=spec.runtime.replicas, deterministic=True)
    replicas = engine.replicas(spec.runtime.strategy, spec.runtime.replicas)
    decision = _decision(spec, material, run, replicas)
    devices.set_precision(decision.precision)
    with replicas.scope():
        model = build_model(spec, vocab_size=material.tokenizer.vocab_size, labels=material.batches.labels)
    variables = variables_of(model)
    freeze = spec.model.freeze if isinstance(spec.model, FromRun) else ()
    optimizer = build_optimizer(spec.training.optimizer, variables, freeze=freeze, replicas=replicas)
    logger: Logger
    checkpoints = Checkpoints(
        run.path,
        keep=spec.training.keep,
        facts=facts | {"decisions": asdict(decision)},
        before_save=lambda: logger.sync(),
        saved=lambda step: run.note(saved=step),
        say=console.err,
    )
    snapshot = checkpoints.resume(model=variables, optimizer=optimizer.slots, saved=notes.get("saved"))
    if snapshot is not None:
        optimizer.restore(snapshot.model, snapshot.optimizer)
        console.err(f"going on from step {snapshot.step}")
    elif isinstance(spec.model, FromRun):
        _take_over(model, spec.model.from_, console)
    cut_back(run.path, snapshot.step if snapshot else 0, snapshot.state["evaluated"] if snapshot else None)
    logger = Logger(run.path, say=console.err)
    if logger.fresh:
        logger.text("spec", 0, f"```yaml\n{text}```")
    plan = plan_of(spec, material.batches)
    bar = Bar(console.write, is_terminal=console.is_terminal, width=console.width, tokens_per_step=material.batches.tokens_per_step)
    samples = Samples(spec, model, material.tokenizer)

    def after_evaluation(step: int) -> None:
        if spec.logging.samples:
            logger.text("samples", step, samples.markdown())
        if spec.logging.histograms:
            logger.histograms(step, {name: engine.as_numpy(variable) for name, variable in variables.items()})

    run.write_environment({"versions": facts["versions"], "device": asdict(devices.facts()), "decisions": asdict(decision)})
    weights = {name: task.weight for name, task in spec.tasks.items()}
    batches, tokenizer = material.batches, material.tokenizer
    figures = evaluator(spec, model, batches.validation, tokenizer, batches.labels, replicas, xla=decision.xla)
    step = Step(
        model,
        optimizer,
        replicas,
        weights=weights,
        clip_norm=spec.training.optimizer.clip_norm,
        micro_batches=decision.micro_batches,
        steps_per_call=decision.steps_per_call,
        xla=decision.xla,
    )
    schedule = spec.training.optimizer.learning_rate
    trainer = Trainer(
        step,
        plan,
        batch_at=material.batches.train,
        rate_at=lambda s: learning_rate(schedule, s, plan.steps),
        weights=weights,
        evaluate=figures if plan.evaluate_every else None,
        hooks=Hooks(log=logger, save=checkpoints, stop=world.stop, progress=bar, after_evaluation=after_evaluation),
        state=RunState.from_json(snapshot.state) if snapshot else None,
        steps_per_epoch=material.batches.steps_per_epoch,
        flops_per_token=flops_of(spec, material.tokenizer.vocab_size)["training"],
        peak_flops=devices.peak_flops(decision.precision) * replicas.count,
    )
    try:
        state = trainer.train()
    finally:
        bar.close()
        logger.close()
    _report(spec, text, state, material, world, sum(math.prod(v.shape) for v in variables.values()), samples)
    run.finish(state.step, DONE if state.step >= plan.steps else "validation no longer improved")


def _decision(spec: RunSpec, material: Material, run: RunDirectory, replicas: engine.Replicas) -> Decision:
    """What the first start of the run decided for `auto` keys; decided now where this is the first."""
    stored = run.notes.get("decisions") or newest_facts(run.path).get("decisions")
    if stored:
        return Decision(**stored)
    rows = material.batches.batch_size * spec.data.max_length
    flops = flops_of(spec, material.tokenizer.vocab_size)["training"] * material.batches.tokens_per_step / replicas.count
    body = resolved(body_of(spec), max_length=spec.data.max_length)
    sizes = {"rows": rows // replicas.count, "width": body.hidden_size, "num_layers": body.num_layers}
    needed = activation_bytes(
        inner=body.feed_forward.intermediate_size or 0,
        num_heads=body.num_heads,
        length=spec.data.max_length,
        rematerialize=spec.training.rematerialize == "blocks",
        **sizes,
    )
    decision = decide(
        spec.training,
        spec.runtime,
        flops=flops,
        steps=plan_of(spec, material.batches).steps,
        replicas=replicas.count,
        activation_bytes=needed,
        **sizes,
    )
    run.note(decisions=asdict(decision))
    return decision


def _take_over(model: Model, source: str, console: Console) -> None:
    heads = take_over(model, read_model(Path(source), say=console.err).model, source)
    for word, names in (("kept", heads.kept), ("dropped", heads.dropped), ("new", heads.new)):
        if names:
            console.err(f"heads {word}: {', '.join(names)}")


def _report(spec: RunSpec, text: str, state: RunState, material: Material, world: World, parameters: int, samples: "Samples") -> None:
    run, console = world.run, world.console
    figures = state.metrics
    drawn = samples.texts()
    facts = {"parameters": f"{parameters:,}", "steps": f"{state.step:,}", "tokens": f"{state.tokens:,}"}
    path = write_report(run.path, title=spec.name, spec=text, facts=facts, samples=drawn)
    for line in loss_chart(run.path, width=min(console.width, 100)):
        console.out(line)
    for name, value in figures.items():
        console.out(f"validation {name}: {value:.4f}")
    for prompt, continuation in drawn.items():
        console.out(f"sample: {prompt}{continuation}")
    console.out(f"{path} tells the whole; tensorboard --logdir {run.path / 'tensorboard'} shows the curves")
