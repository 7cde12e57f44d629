"""lmkit's own step and generator, built from the same specs that a user writes."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.bench.workloads import CLIP_NORM, LEARNING_RATE, WEIGHT_DECAY, Workload, random_batch

CONFIGURATIONS = ("auto", "xla_float32", "graph_float32", "graph_bfloat16", "calls16_float32")


def prepare(work: Workload, configuration: str) -> Callable[[int], float]:
    """Returns `run(n)`: the seconds that n steps (or generations) take; `auto` is what `precision: auto` decides."""
    from lmkit.engine import devices

    devices.configure(deterministic=True)
    return _generation(work) if work.new_tokens else _training(work, configuration)


def body(work: Workload) -> Any:
    """GPT-2 or BERT at the workload's size, as resolved words."""
    from lmkit.blocks.spec import Dense, LayerNorm
    from lmkit.models.derive import resolved
    from lmkit.models.spec import Decoder, Encoder

    sizes: dict[str, Any] = {"num_layers": work.layers, "hidden_size": work.width, "num_heads": work.heads, "dropout": work.dropout}
    length = work.length + work.new_tokens
    if work.kind == "masked_lm":
        norm = LayerNorm(placement="post", epsilon=1e-12)
        return resolved(Encoder(norm=norm, token_types=2, feed_forward=(Dense(activation="gelu"),), **sizes), max_length=length)
    return resolved(Decoder(feed_forward=(Dense(activation="gelu_tanh"),), **sizes), max_length=length)


def _model(work: Workload) -> tuple[Any, Any]:
    from lmkit.heads.model import Model
    from lmkit.models.build import build_backbone
    from lmkit.models.initialize import initialize
    from lmkit.tasks.build import build_head
    from lmkit.tasks.spec import CausalLm, MaskedLm

    words = body(work)
    task = MaskedLm() if work.masked else CausalLm()
    backbone = build_backbone(words, vocab_size=work.vocabulary, max_length=work.length + work.new_tokens)
    head = build_head(task, "lm", backbone=backbone, model_spec=words)
    model = Model(backbone, {"lm": head})
    initialize(model, 0)
    return model, task


def _decision(work: Workload, configuration: str) -> Any:
    from lmkit.training.precision import Decision, decide
    from lmkit.training.spec import AdamW, Constant, Runtime, Training

    if configuration == "auto":
        words = Training(steps=10_000, batch_size=work.batch, optimizer=AdamW(learning_rate=Constant(peak=LEARNING_RATE)))
        flops = work.flops_per_token * work.tokens_per_step
        return decide(words, Runtime(), rows=work.tokens_per_step, width=work.width, num_layers=work.layers, flops=flops, steps=10_000)
    how, precision = configuration.split("_")
    calls = 16 if how == "calls16" else 1
    return Decision(
        precision="bfloat16" if precision == "bfloat16" else "float32", xla=how != "graph", steps_per_call=calls, micro_batches=1
    )


def _training(work: Workload, configuration: str) -> Callable[[int], float]:
    from lmkit.engine import devices
    from lmkit.engine import tensorflow as engine
    from lmkit.layers.weights import canonical
    from lmkit.training.build import build_optimizer
    from lmkit.training.spec import AdamW, Constant
    from lmkit.training.step import Step

    decision = _decision(work, configuration)
    print(f"{configuration}: {decision}")
    devices.set_precision(decision.precision)
    replicas = engine.replicas("one_device")
    model, _ = _model(work)
    words = AdamW(learning_rate=Constant(peak=LEARNING_RATE), weight_decay=WEIGHT_DECAY, clip_norm=CLIP_NORM)
    optimizer = build_optimizer(words, {canonical(v): v for v in model.weights}, replicas=replicas)
    step = Step(
        model,
        optimizer,
        replicas,
        weights={"lm": 1.0},
        clip_norm=CLIP_NORM,
        steps_per_call=decision.steps_per_call,
        xla=decision.xla,
    )
    batches = [features(work, number) for number in range(8)]
    done = 0

    def run(count: int) -> float:
        nonlocal done
        start = time.perf_counter()
        while count > 0:
            now = min(count, decision.steps_per_call)
            sums = step([batches[(done + i) % len(batches)] for i in range(now)], [LEARNING_RATE] * now, done + 1)
            if sums.outcome.any():
                raise RuntimeError("the loss is not finite")
            done, count = done + now, count - now
        return time.perf_counter() - start

    return run


def features(work: Workload, step: int) -> dict[str, np.ndarray]:
    """A random batch as lmkit's step takes it: one segment a row."""
    from lmkit.data.order import row_keys

    batch = random_batch(work, step)
    shape = batch["tokens"].shape
    named = {f"lm/{name}": array for name, array in batch.items() if name != "tokens"}
    weights = np.ones(named["lm/labels"].shape, np.float32)
    return {
        "tokens": batch["tokens"],
        "segments": np.ones(shape, np.int32),
        "positions": np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape).copy(),
        "token_types": np.zeros(shape, np.int32),
        "row_key": row_keys(0, step, len(batch["tokens"])),
        "lm/weights": weights,
        "lm/denominator": np.asarray(weights.sum(), np.float32),
        **named,
    }


def _generation(work: Workload) -> Callable[[int], float]:
    from lmkit.engine import devices
    from lmkit.generation.cached import CachedDecoder
    from lmkit.generation.decode import Generator
    from lmkit.generation.settings import Settings

    devices.set_precision("float32")
    model, _ = _model(work)
    cached = CachedDecoder(model.backbone, model.heads["lm"], context=work.length + work.new_tokens)
    generator = Generator(cached, Settings(temperature=0))
    prompts = random_batch(work, 0)["tokens"].tolist()

    def run(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            made = generator.generate(prompts, max_tokens=work.new_tokens)
            if {len(one.ids) for one in made} != {work.new_tokens}:
                raise RuntimeError("generation stopped early")
        return time.perf_counter() - start

    return run
