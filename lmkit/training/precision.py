"""What `auto` means on this machine: precision, compilation, steps in a call and micro-batches, decided once for a run."""

import math
from dataclasses import dataclass, replace

from lmkit.engine import devices
from lmkit.engine.devices import Precision
from lmkit.training.spec import Runtime, Training

FASTER = 1.3  # bfloat16 products must be so much faster to pay for the casts around them
SMALL = 0.008  # seconds of matrix products a layer and step, below which a graph's own overhead outweighs XLA's slower products
OVERHEAD = 0.003  # seconds a layer and step that a graph of single kernels spends between them; products shorter than that stay in float32
WORTH = 1000  # steps after which the whole-step program has earned back its longer compilation
CALL = 0.1  # seconds that one call of several steps should take, so that a stop is heard soon
MOST = 16  # steps in a call; more gained nothing
SHARE = 0.6  # of the memory that activations may take
SCORES = 0.1  # of the memory that scores over the vocabulary may take before they are computed in chunks, at 4/3 of their arithmetic
CHUNK = 2**28  # bytes that the scores of a chunk may have
LEAST = 128  # tokens of a chunk; products of fewer rows are slow


@dataclass(frozen=True)
class Decision:
    """How a run computes. Stored with it and with each checkpoint: a run that goes on decides nothing anew.

    `xla` makes one program of the whole step (with several replicas, of its gradients); heads over the vocabulary look at
    `logits_chunk` tokens at a time, None at all at once. `why` says it in words, and `needed_bytes` what a micro-batch takes
    beside weights and slots, by estimate.
    """

    precision: Precision
    xla: bool
    steps_per_call: int
    micro_batches: int
    why: str = ""
    logits_chunk: int | None = None
    needed_bytes: float = 0.0

    def in_smaller_parts(self, batch_size: int) -> "Decision | None":
        """The same with the next number of equal micro-batches of so many rows; None where a micro-batch is one row already."""
        parts = next(
            (n for n in range(self.micro_batches + 1, batch_size + 1) if batch_size % n == 0 and n >= 2 * self.micro_batches), None
        )
        needed = self.needed_bytes * self.micro_batches / (parts or 1)
        return None if parts is None else replace(self, micro_batches=parts, needed_bytes=needed)


def decide(
    training: Training,
    runtime: Runtime,
    *,
    rows: int,
    width: int,
    num_layers: int,
    flops: float,
    steps: int,
    replicas: int = 1,
    sharing: int = 1,
    activation_bytes: float = 0.0,
    scored: int = 0,
    vocab_size: int = 0,
) -> Decision:
    """Measures the device's matrix products for a tenth of a second and decides what the spec leaves open.

    For one replica and step: `rows` tokens and `flops` operations (forward and backward), and `activation_bytes` to keep
    for the backward pass in float32; `scored` of the tokens get scores over the vocabulary. `width` is the model's, `steps`
    the length of the run. `sharing` devices share the memory of a machine.

    The rules come from interleaved measurements of this step on two CPU machines of two cores. Products that reach 855
    GFLOP/s in bfloat16 and 444 in float32: a bfloat16 graph is 1.35 times a float32 XLA program on 6 x 384, and XLA runs
    bfloat16 at the speed of float32. Products of 25 and 100 GFLOP/s (no bfloat16 units): bfloat16 0.19 times float32.
    Float32, XLA against a graph with fused kernels, in processor time: 2 x 64 (2.5 ms of products a layer) 1.42, 4 x 128
    (9 ms) 1.05, 4 x 192 (33 ms) 0.88, 4 x 256 (130 ms) 0.86, 6 x 256 (140 ms) 0.86. XLA compiles 10 to 16 s of processor
    time where the graph takes 6. Of GPUs only products were measured: an H100 reaches 135 to 164 TFLOP/s in float32 (TF32)
    and 235 to 323 in bfloat16, so there it is bfloat16, and XLA. Of TPUs, whose units multiply in bfloat16 and whose
    strategy compiles the whole step, nothing was.
    """
    if devices.facts().kind == "tpu":
        way = Decision("bfloat16" if training.precision == "auto" else training.precision, False, 1, 1, "a TPU")
    else:
        way = _measured(training, runtime, rows=rows, width=width, num_layers=num_layers, flops=flops, steps=steps, replicas=replicas)
    batch_size = training.batch_size // replicas
    memory = devices.memory_bytes(sharing)
    return _fitted(
        way, training, batch_size=batch_size, activation_bytes=activation_bytes, scored=scored, vocab_size=vocab_size, memory=memory
    )


def _measured(
    training: Training, runtime: Runtime, *, rows: int, width: int, num_layers: int, flops: float, steps: int, replicas: int
) -> Decision:  # fmt: skip
    """Precision, compilation and steps in a call, of a step that is one micro-batch so far."""
    speeds = {precision: _speed(rows, width, precision) for precision in ("float32", "bfloat16")}
    chosen = training.precision
    if chosen == "auto":
        chosen = "bfloat16" if speeds["bfloat16"] >= FASTER * speeds["float32"] else "float32"
    seconds = flops / speeds["float32"]
    small = seconds < SMALL * num_layers and steps >= WORTH
    on_gpu = devices.facts().kind == "gpu"
    if training.precision == "auto" and not on_gpu and (small or seconds < OVERHEAD * num_layers):
        chosen = "float32"
    xla = on_gpu or (small and chosen == "float32")
    fitting = int(CALL / (seconds + OVERHEAD * num_layers)) if xla and replicas == 1 else 1
    per_call = max(1, min(MOST, fitting)) if runtime.steps_per_call == "auto" else runtime.steps_per_call
    measured = ", ".join(f"{precision} {speed / 1e9:.0f}" for precision, speed in speeds.items())
    why = f"matrix products reach {measured} GFLOP/s; a step has {flops / 1e9:.3g} GFLOP in {num_layers} layers"
    return Decision(chosen, xla, per_call, 1, why)


def _fitted(
    way: Decision, training: Training, *, batch_size: int, activation_bytes: float, scored: int, vocab_size: int, memory: float
) -> Decision:  # fmt: skip
    """The same in micro-batches and chunks that fit in the memory of a device; its share of a step is `batch_size` rows."""
    micro = training.gradient_accumulation_steps
    together = scored // (1 if micro == "auto" else micro)
    chunk = logits_chunk(together, vocab_size, memory) if training.logits_chunk == "auto" else training.logits_chunk
    kept = activation_bytes * (1.0 if way.precision == "float32" else 0.5)
    needed = kept + (0.0 if chunk else scores_bytes(scored, vocab_size))
    if micro == "auto":
        micro = micro_batches(batch_size, needed, memory)
    needed = needed / micro + (scores_bytes(chunk, vocab_size) if chunk else 0.0)
    return replace(way, micro_batches=micro, logits_chunk=chunk, needed_bytes=needed)


def micro_batches(batch_size: int, activation_bytes: float, memory_bytes: float) -> int:
    """The fewest equal parts of a batch whose activations fit in a share of the memory; single rows where none fits."""
    parts = (n for n in range(1, batch_size + 1) if batch_size % n == 0)
    return next((n for n in parts if activation_bytes / n <= SHARE * memory_bytes), batch_size)


def scores_bytes(tokens: int, vocab_size: int) -> float:
    """What cross-entropy over a vocabulary needs at its peak: scores, their exponentials and their gradient, in float32."""
    return 12.0 * tokens * vocab_size


def logits_chunk(tokens: int, vocab_size: int, memory_bytes: float) -> int | None:
    """Tokens whose scores are computed at a time: a power of two, or None where all of them take a small share of the memory."""
    if scores_bytes(tokens, vocab_size) <= SCORES * memory_bytes:
        return None
    fitting = min(CHUNK, SCORES * memory_bytes) / scores_bytes(1, vocab_size)
    return max(LEAST, 2 ** int(math.log2(max(fitting, 1))))


def activation_bytes(*, rows: int, width: int, inner: int, num_heads: int, num_layers: int, length: int, rematerialize: bool) -> float:
    """About what the backward pass of `rows` tokens keeps, in float32: an estimate for choosing micro-batches.

    A block keeps some 12 vectors of the model's width, 2 of the feed-forward's and 3 rows of scores a head for each token;
    rematerialized, its input alone, and the whole of one block at a time.
    """
    block = 12 * width + 2 * inner + 3 * num_heads * length
    kept = num_layers * width + block if rematerialize else num_layers * block
    return 4.0 * rows * kept


def _speed(rows: int, width: int, precision: Precision) -> float:
    if devices.facts().kind == "gpu":
        return devices.peak_flops(precision)
    return devices.product_flops(min(rows, 2048), width, 4 * width, precision)
