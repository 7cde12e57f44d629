"""The words for training: how long, how fast, how often saved and evaluated."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lmkit.spec import LISTED, Also, Amount, Count, Fraction, Spec, short, units

Peak = Annotated[float, Field(gt=0, lt=1000)]


class Schedule(Spec):
    """What every schedule shares: a linear warm-up to the peak."""

    peak: Peak = Field(description="The highest learning rate.", examples=[3e-4])
    warmup: Annotated[Amount, units("steps", "fraction")] = Field(
        default_factory=lambda: Amount(value=0, unit="steps"), description="Steps, or a share of the run, from 0 to the peak."
    )


class Constant(Schedule):
    """Stays at the peak."""

    kind: Literal["constant"] = "constant"


class Linear(Schedule):
    """Falls in a straight line to the floor at the last step."""

    kind: Literal["linear"] = "linear"
    floor: Fraction = Field(0.0, ge=0, le=1, description="Last learning rate, as a share of the peak.")


class Cosine(Schedule):
    """Falls along half a cosine to the floor at the last step."""

    kind: Literal["cosine"] = "cosine"
    floor: Fraction = Field(0.0, ge=0, le=1, description="Last learning rate, as a share of the peak.")


class InverseSqrt(Schedule):
    """Falls with 1/sqrt(step) after the warm-up ("Attention Is All You Need", section 5.3)."""

    kind: Literal["inverse_sqrt"] = "inverse_sqrt"


class WarmupStableDecay(Schedule):
    """Warm-up, a plateau, and a linear decay at the end (MiniCPM)."""

    kind: Literal["warmup_stable_decay"] = "warmup_stable_decay"
    decay: Annotated[Amount, units("steps", "fraction")] = Field(
        default_factory=lambda: Amount(value=0.1, unit="fraction"), description="Length of the last part."
    )
    floor: Fraction = Field(0.0, ge=0, le=1, description="Last learning rate, as a share of the peak.")


def _number_is_constant(value: object) -> object:
    return {"kind": "constant", "peak": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


LearningRate = Annotated[
    Constant | Linear | Cosine | InverseSqrt | WarmupStableDecay,
    Field(discriminator="kind"),
    Also(_number_is_constant, lambda first: {"type": "number"}),
]


class Optimizer(Spec):
    """What every optimizer shares."""

    learning_rate: LearningRate = Field(description="A number, or a schedule.", examples=[3e-4])
    weight_decay: float = Field(0.0, ge=0, description="Decoupled decay of matrices; biases and norms have none.")
    clip_norm: Annotated[float | None, Also(lambda v: None if v == "off" else v, lambda first: {"const": "off"})] = Field(
        1.0, gt=0, description="Global gradient norm after summing over all replicas; or `off`."
    )
    layer_decay: Fraction = Field(
        1.0, gt=0, le=1, description="The learning rate of each layer below the top, as a share of the one above."
    )


Beta = Annotated[float, Field(ge=0, lt=1)]


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = Field(0.01, ge=0, description="Decoupled decay of matrices; biases and norms have none.")
    beta1: Beta = 0.9
    beta2: Beta = 0.999
    epsilon: float = Field(1e-8, gt=0)


class Lion(Optimizer):
    """Sign of an interpolated momentum (Chen et al., 2023)."""

    kind: Literal["lion"] = "lion"
    beta1: Beta = 0.9
    beta2: Beta = 0.99


class Adafactor(Optimizer):
    """Second moments factored into rows and columns (Shazeer and Stern)."""

    kind: Literal["adafactor"] = "adafactor"
    beta2_decay: float = Field(-0.8, lt=0, description="beta2 = 1 - step^beta2_decay.")
    clip_threshold: float = Field(1.0, gt=0, description="Root mean square to which an update is cut.")
    epsilon: float = Field(1e-30, gt=0)


class Muon(Optimizer):
    """Orthogonalized momentum for hidden matrices, AdamW for the rest (Jordan et al., 2024)."""

    kind: Literal["muon"] = "muon"
    weight_decay: float = Field(0.01, ge=0, description="Decoupled decay of matrices; biases and norms have none.")
    momentum: Beta = 0.95
    adamw_learning_rate_ratio: float = Field(
        0.1, gt=0, description="Learning rate of embeddings, norms, biases and heads, as a share of the matrices'."
    )


class Sgd(Optimizer):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: Beta = 0.0
    nesterov: bool = False


AnyOptimizer = Annotated[AdamW | Lion | Adafactor | Muon | Sgd, Field(discriminator="kind")]


class Ema(Spec):
    """An exponential moving average of the trained weights. Training goes on from the weights; evaluation, and all that reads a
    checkpoint, takes the average.
    """

    decay: float = Field(
        0.999,
        gt=0,
        lt=1,
        description="What a step keeps of the average; at first less, (1 + step) / (10 + step).",
        examples=[0.999],
    )


def _number_is_decay(value: object) -> object:
    return {"decay": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class EarlyStopping(Spec):
    """Stops when a validation figure no longer gets better."""

    monitor: str = Field("loss", description="`loss`, or task/metric such as `stars/f1`.")
    patience: Count = Field(3, description="Evaluations without improvement.")
    min_delta: float = Field(0.0, ge=0, description="A smaller change is no improvement.")


class Abort(Spec):
    """The run ends with exit code 6; all steps before the bad one are saved, and nan-report.json says what is known of it."""

    kind: Literal["abort"] = "abort"


class Off(Spec):
    """Nobody looks."""

    kind: Literal["off"] = "off"


class Skip(Spec):
    """Nothing is learned from the step; data and learning rate go on."""

    kind: Literal["skip"] = "skip"
    at_most: Count = Field(10, description="Such steps of 1,000; one more ends the run.")


class Rollback(Spec):
    """The run goes back to a checkpoint from before the last `steps` steps, and learns nothing from these when it comes to them again."""

    kind: Literal["rollback"] = "rollback"
    at_most: Count = Field(3, description="In a run; one more ends it.")
    steps: Count = Field(100, description="Steps that are passed over, of which the bad one is the last.")


class Training(Spec):
    """How the model is trained."""

    steps: Count | None = Field(None, description="Length of the run in optimizer steps; or give tokens or epochs.")
    tokens: Count | None = Field(None, description="Length of the run in tokens.")
    epochs: float | None = Field(None, gt=0, description="Length of the run in passes over data.train.")
    batch_size: Count = Field(description="Rows in a step over all devices.", examples=[32])
    gradient_accumulation_steps: Literal["auto"] | Count = Field(1, description="Micro-batches that one step is computed in.")
    rematerialize: Literal["none", "blocks"] = Field("none", description="Recompute blocks in the backward pass instead of storing them.")
    logits_chunk: Literal["auto"] | Count = Field(
        "auto",
        description="Tokens whose scores over the vocabulary are computed at a time, and again in the backward pass; `auto`: all at once, "
        "unless their scores would take a tenth of the memory.",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Of the arithmetic; weights are float32. `auto` takes what measures faster, once; never float16, which is for cards "
        "without bfloat16: its losses are scaled, and steps that overflow are left out.",
    )
    optimizer: AnyOptimizer = Field(description="How gradients become updates.", examples=[{"kind": "adamw", "learning_rate": 3e-4}])
    ema: Annotated[Ema | None, Also(_number_is_decay, lambda first: {"type": "number"})] = Field(
        None, description="Average the weights over the last steps; a number is the `decay`.", examples=[0.999]
    )
    evaluate_every: Annotated[Amount, units("steps", "epochs")] | None = Field(None, description="Default: ten times over the run.")
    evaluate_documents: Annotated[int, Field(ge=0)] = Field(
        200,
        description="So many validation documents, at even distances, are answered at each evaluation for the metrics of tasks that write, "
        "find or embed texts, or read them in windows, which takes its time; 0: none, and `lmkit evaluate` tells these alone.",
    )
    save_every: Annotated[Amount, units("steps", "minutes")] | None = Field(
        None, description="Default: 1,000 steps or 10 minutes, whichever is first."
    )
    keep: Count = Field(2, description="Checkpoints kept beside the best one.")
    early_stopping: EarlyStopping | None = Field(None, description="Stop when validation no longer improves.")
    non_finite: Annotated[Abort | Skip | Rollback, Field(discriminator="kind"), short()] = Field(
        default_factory=Abort, description="What becomes of a step whose loss or gradient is not finite; it never changes a weight."
    )
    loss_spikes: Annotated[Off | Skip | Rollback, Field(discriminator="kind"), short()] = Field(
        default_factory=Off,
        description="What becomes of a step whose loss or gradient norm is above mean + 6 sigma of the last 128; no weight changes by it.",
    )

    def rule_one_length(self) -> Iterator[tuple[str, str]]:
        given = [key for key in ("steps", "tokens", "epochs") if getattr(self, key) is not None]
        if not given:
            yield "", "the length of the run is missing; add for example steps: 1000 (or tokens, or epochs)"
        for extra in given[1:]:
            yield extra, f"{given[0]} already sets the length of the run; keep one"

    def rule_warmup_within_run(self) -> Iterator[tuple[str, str]]:
        rate = self.optimizer.learning_rate
        if self.steps is None:
            return
        parts = {"warmup": rate.warmup} | ({"decay": rate.decay} if isinstance(rate, WarmupStableDecay) else {})
        lengths = {key: part.value * self.steps if part.unit == "fraction" else part.value for key, part in parts.items()}
        for key, part in parts.items():
            if lengths[key] > self.steps:
                yield f"optimizer.learning_rate.{key}", f"{part} is longer than the run of training.steps = {self.steps}"
        if max(lengths.values()) <= self.steps < sum(lengths.values()):
            yield "optimizer.learning_rate.decay", f"warmup and decay together are longer than the run of training.steps = {self.steps}"

    def rule_intervals_pass(self) -> Iterator[tuple[str, str]]:
        for key in ("evaluate_every", "save_every"):
            every = getattr(self, key)
            if every is not None and every.value <= 0:
                yield key, f"{every} never passes; write 1 {every.unit} or more, or remove this"

    def rule_whole_micro_batches(self) -> Iterator[tuple[str, str]]:
        micro = self.gradient_accumulation_steps
        if isinstance(micro, int) and self.batch_size % micro:
            below = self.batch_size // micro * micro
            near = ", ".join(str(n) for n in (below, below + micro) if n)
            yield "batch_size", f"{self.batch_size} is not divisible by gradient_accumulation_steps = {micro}; nearest: {near}"

    def warnings(self) -> Iterator[tuple[str, str]]:
        peak = self.optimizer.learning_rate.peak
        if peak > 1:
            yield "optimizer.learning_rate.peak", f"a learning rate of {peak:g} is above 1; usual values are 1e-5 to 1e-1"


class Runtime(Spec):
    """Which devices do the work."""

    strategy: Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"] = Field(
        "auto",
        description="`auto`: multi_worker where the environment tells of several processes, else tpu where there is one, else mirrored "
        "where there are several GPUs.",
    )
    tpu: str | None = Field(
        None, description="Name or address of the TPU, `local` for this machine's; default: the one that is here, or that TPU_NAME names."
    )
    replicas: Count | None = Field(None, description="Devices of a mirrored run; on a machine with one CPU these are logical devices.")
    steps_per_call: Literal["auto"] | Annotated[Count, Field(le=10_000)] = Field(
        "auto", description="Optimizer steps in one call of the compiled function."
    )
    wait_minutes: float = Field(
        10.0, gt=0, le=100_000, description="How long the processes of a multi_worker run wait for one another at the start."
    )

    hang_minutes: Annotated[float | None, Also(lambda v: None if v == "never" else v, lambda first: {"const": "never"})] = Field(
        5.0,
        gt=0,
        le=100_000,
        description="A run in which nothing happens for so long (six times as long before the first step), and for three times its "
        "longest pause, writes hang.txt and ends with exit code 75; or `never`.",
    )

    def rule_replicas_need_mirroring(self) -> Iterator[tuple[str, str]]:
        if self.strategy == "one_device" and (self.replicas or 1) > 1:
            yield "replicas", f"strategy: one_device has one replica, not {self.replicas}; write strategy: mirrored or remove this"
        if self.strategy == "multi_worker" and self.replicas is not None:
            yield "replicas", "a multi_worker run takes all GPUs of each machine, or its processors as one device; remove this"
        if self.strategy == "tpu" and self.replicas is not None:
            yield "replicas", "a tpu run takes all cores of the TPU; remove this"

    def rule_a_tpu_is_named_where_one_is_used(self) -> Iterator[tuple[str, str]]:
        if self.tpu is not None and self.strategy != "tpu":
            yield "tpu", f"strategy: {self.strategy} uses no TPU by name; write strategy: tpu or remove this"


class Logging(Spec):
    """What is written for TensorBoard and metrics.jsonl."""

    every: Count = Field(10, description="Steps between two points of the training curves.")
    samples: Annotated[tuple[str, ...], LISTED] = Field((), description="Prompts that are continued at each evaluation.")
    histograms: bool = Field(False, description="Weight histograms at each evaluation.")
