"""What `auto` means on this machine: precision, compilation, steps in a call and micro-batches, decided once for a run."""

from dataclasses import dataclass

from lmkit.engine import devices
from lmkit.engine.devices import Precision
from lmkit.training.spec import Runtime, Training

FASTER = 1.3  # bfloat16 products must be so much faster to pay for the casts around them
SMALL = 0.008  # seconds of matrix products a layer and step, below which a graph's own overhead outweighs XLA's slower products
OVERHEAD = 0.003  # seconds a layer and step that a graph of single kernels spends between them
WORTH = 1000  # steps after which the whole-step program has earned back its longer compilation
CALL = 0.1  # seconds that one call of several steps should take, so that a stop is heard soon
MOST = 16  # steps in a call; more gained nothing
SHARE = 0.6  # of the memory that activations may take


@dataclass(frozen=True)
class Decision:
    """How a run computes. Stored with it and with each checkpoint: a run that goes on decides nothing anew.

    `xla` makes one program of the whole step (with several replicas, of its gradients); `why` says it in words.
    """

    precision: Precision
    xla: bool
    steps_per_call: int
    micro_batches: int
    why: str = ""


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
    activation_bytes: float = 0.0,
) -> Decision:
    """Measures the device's matrix products for a tenth of a second and decides what the spec leaves open.

    For one replica and step: `rows` tokens and `flops` operations (forward and backward), and `activation_bytes` to keep
    for the backward pass in float32; `width` is the model's, `steps` the length of the run.

    The rules come from interleaved measurements of this step on two CPU machines of two cores. Products that reach 855
    GFLOP/s in bfloat16 and 444 in float32: a bfloat16 graph is 1.35 times a float32 XLA program on 6 x 384, and XLA runs
    bfloat16 at the speed of float32. Products of 25 and 100 GFLOP/s (no bfloat16 units): bfloat16 0.19 times float32.
    Float32, XLA against a graph with fused kernels, in processor time: 2 x 64 (2.5 ms of products a layer) 1.42, 4 x 128
    (9 ms) 1.05, 4 x 192 (33 ms) 0.88, 4 x 256 (130 ms) 0.86, 6 x 256 (140 ms) 0.86. XLA compiles 10 to 16 s of processor
    time where the graph takes 6. On GPUs nothing was measured: bfloat16 where the card has it, and XLA; nor on TPUs.
    """
    if devices.facts().kind == "tpu":
        return _on_tpu(training, activation_bytes, replicas)
    speeds = {precision: _speed(rows, width, precision) for precision in ("float32", "bfloat16")}
    chosen = training.precision
    if chosen == "auto":
        chosen = "bfloat16" if speeds["bfloat16"] >= FASTER * speeds["float32"] else "float32"
    seconds = flops / speeds["float32"]
    small = seconds < SMALL * num_layers and steps >= WORTH
    on_gpu = devices.facts().kind == "gpu"
    if small and training.precision == "auto" and not on_gpu:
        chosen = "float32"
    xla = on_gpu or (small and chosen == "float32")
    fitting = int(CALL / (seconds + OVERHEAD * num_layers)) if xla and replicas == 1 else 1
    per_call = max(1, min(MOST, fitting)) if runtime.steps_per_call == "auto" else runtime.steps_per_call
    micro = training.gradient_accumulation_steps
    if micro == "auto":
        kept = activation_bytes * (0.5 if chosen == "bfloat16" else 1.0)
        micro = micro_batches(training.batch_size // replicas, kept, devices.memory_bytes())
    measured = ", ".join(f"{precision} {speed / 1e9:.0f}" for precision, speed in speeds.items())
    why = f"matrix products reach {measured} GFLOP/s; a step has {flops / 1e9:.3g} GFLOP in {num_layers} layers"
    return Decision(chosen, xla, per_call, micro, why)


def _on_tpu(training: Training, activation_bytes: float, replicas: int) -> Decision:
    """Its units multiply in bfloat16, and its strategy compiles the whole step."""
    precision: Precision = "bfloat16" if training.precision == "auto" else training.precision
    micro = training.gradient_accumulation_steps
    if micro == "auto":
        kept = activation_bytes * (1.0 if precision == "float32" else 0.5)
        micro = micro_batches(training.batch_size // replicas, kept, devices.memory_bytes())
    return Decision(precision, False, 1, micro, "a TPU")


def micro_batches(batch_size: int, activation_bytes: float, memory_bytes: float) -> int:
    """The fewest equal parts of a batch whose activations fit in a share of the memory; single rows where none fits."""
    parts = (n for n in range(1, batch_size + 1) if batch_size % n == 0)
    return next((n for n in parts if activation_bytes / n <= SHARE * memory_bytes), batch_size)


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
