"""What `auto` keys mean on this machine: decided once, at a run's first start, and stored with it."""

from dataclasses import dataclass
from typing import Literal

from lmkit.engine import devices
from lmkit.training.spec import Runtime, Training

SMALL = 5e9  # FLOPs of a step below which starting kernels costs more than the arithmetic in them
GAIN = 1.3  # bfloat16 products must be faster by this before the casts around them are worth it
CALLS = 16


@dataclass(frozen=True)
class Decision:
    """How the step is computed; a run that goes on computes as it began."""

    precision: Literal["float32", "bfloat16"]
    xla: bool
    steps_per_call: int
    micro_batches: int


def decide(training: Training, runtime: Runtime, *, rows: int, width: int, flops: float, replicas: int) -> Decision:
    """`rows` x `width` is the shape that most products of a micro-batch have, `flops` a step's arithmetic on one replica.

    Measured on two CPU cores with AVX-512 bfloat16: small steps run fastest as one float32 XLA program with several steps a
    call (XLA on CPU computes bfloat16 no faster than float32); large ones as a plain bfloat16 graph, where the machine's
    bfloat16 products are faster, which a probe of some milliseconds tells.
    """
    small = flops < SMALL
    gpu = devices.facts().kind == "gpu"
    precision = training.precision
    if precision == "auto":
        faster = not small and devices.product_flops(rows, width, width, "bfloat16") > GAIN * devices.product_flops(
            rows, width, width, "float32"
        )
        precision = "bfloat16" if faster else "float32"
    calls = runtime.steps_per_call
    micro = training.gradient_accumulation_steps
    return Decision(
        precision=precision,
        xla=gpu or precision == "float32",
        steps_per_call=(CALLS if small and replicas == 1 else 1) if calls == "auto" else calls,
        micro_batches=1 if micro == "auto" else micro,
    )
