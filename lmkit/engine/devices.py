"""What the machine is: set-up before TensorFlow's first operation, device facts, and a probe of its arithmetic speed."""

import contextlib
import ctypes
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import keras
import numpy as np
import tensorflow as tf

from lmkit.engine.memory import machine_memory
from lmkit.errors import MachineError, Problem

Precision = Literal["float32", "bfloat16", "float16"]

# Dense matrix products, FLOP/s as the makers state them: float32 as Keras runs it, with TF32 where the card has it; bfloat16; float16.
GPU_PEAKS = {
    "H200": (494e12, 989e12, 989e12),
    "H100": (494e12, 989e12, 989e12),
    "A100": (156e12, 312e12, 312e12),
    "L40S": (183e12, 362e12, 362e12),
    "L4": (60e12, 121e12, 121e12),
    "A10": (62e12, 125e12, 125e12),
    "V100": (15.7e12, 15.7e12, 125e12),
    "T4": (8.1e12, 8.1e12, 65e12),
    "RTX 4090": (82.6e12, 165e12, 165e12),
    "RTX 3090": (35.6e12, 71e12, 71e12),
}


CARD = "/dev/nvidiactl"  # there where a driver for NVIDIA cards is
TPU_MEMORY = 8 * 2.0**30  # bytes of a core of the oldest kind that is still offered; later kinds have more


@dataclass(frozen=True)
class Facts:
    """What a run was computed on."""

    kind: Literal["cpu", "gpu", "tpu"]
    count: int
    name: str
    tensorflow: str
    keras: str


def compute_exactly(replicas: int) -> None:
    """float32 with all its digits, where GPUs would take TF32; on processors where there are fewer GPUs than replicas.

    Must come before `configure`.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if len(_gpus()) < replicas:
        tf.config.set_visible_devices([], "GPU")


def _gpus() -> list[Any]:
    return tf.config.get_visible_devices("GPU")


def configure(*, replicas: int | None = None, deterministic: bool = False, collectives: bool = False) -> None:
    """Sets devices up; must come before any other operation of TensorFlow.

    On a machine without a GPU, `replicas` splits the CPU into so many logical devices; `collectives` is for who waits for other
    processes. CPU runs are bitwise reproducible without `deterministic`; it makes GPU kernels so, at a cost. Raises MachineError
    when Keras runs on another backend or there are fewer GPUs than asked for.
    """
    for name, found, least in (("TensorFlow", tf.__version__, (2, 21)), ("Keras", keras.__version__, (3, 15))):
        if tuple(int(part) for part in found.split(".")[:2]) < least:
            needed = ".".join(map(str, least))
            raise MachineError(Problem(f"{name} {needed} or newer is needed, found {found}; install lmkit with what it requires"))
    if keras.backend.backend() != "tensorflow":
        raise MachineError(Problem(f"Keras runs on {keras.backend.backend()}; unset KERAS_BACKEND or set it to tensorflow"))
    tf.get_logger().setLevel("ERROR")  # each set of shapes compiles once on purpose, which it warns of
    gpus = _gpus()
    if gpus and replicas is not None and replicas > len(gpus):
        raise MachineError(Problem(f"{replicas} devices are asked for and TensorFlow sees {len(gpus)} GPUs", "runtime.replicas"))
    try:
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        if not gpus and replicas is not None and replicas > 1:
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
            collectives = True
        if not gpus and collectives:
            # A replica that waits in a collective, or compiles, keeps its thread: with a thread a core they wait for each other.
            tf.config.threading.set_inter_op_parallelism_threads(max(8, 4 * (replicas or 1)))
    except RuntimeError as error:
        raise MachineError(Problem(f"devices must be set up before the first operation: {error}")) from error
    if deterministic and gpus:
        tf.config.experimental.enable_op_determinism()


def facts() -> Facts:
    """The devices that a run can use: the cores of a TPU that it is connected to, or GPUs if there are any."""
    if cores := tf.config.list_logical_devices("TPU"):
        return Facts("tpu", len(cores), "TPU core", tf.__version__, keras.__version__)
    gpus = _gpus()
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        return Facts("gpu", len(gpus), name, tf.__version__, keras.__version__)
    return Facts("cpu", len(tf.config.list_logical_devices("CPU")), "CPU", tf.__version__, keras.__version__)


def unseen(environment: Mapping[str, str]) -> str:
    """A warning where the machine has a card that TensorFlow does not see and nobody has hidden it; else empty."""
    if not os.path.exists(CARD) or tf.config.list_physical_devices("GPU") or "CUDA_VISIBLE_DEVICES" in environment:
        return ""
    return "this machine has an NVIDIA card that TensorFlow does not see: check the driver with nvidia-smi, or install tensorflow[and-cuda]"


def memory_bytes(sharing: int = 1) -> float:
    """Memory of one device: the GPU's, the TPU core's, or an equal share of the machine's where so many devices are made of its CPU."""
    if tf.config.list_logical_devices("TPU"):
        return TPU_MEMORY
    gpus = _gpus()
    if gpus:
        return _card_memory()
    return machine_memory() / sharing


def _card_memory() -> float:
    """Bytes of the first card of this process, as CUDA's driver tells (TensorFlow does not); 16 GiB where there is no such driver."""
    with contextlib.suppress(OSError, AttributeError):  # a card of another maker
        cuda, card, size = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_size_t()
        if not (cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(card), 0) or cuda.cuDeviceTotalMem_v2(ctypes.byref(size), card)):
            return float(size.value)
    return 16 * 2.0**30


def set_precision(precision: Precision) -> None:
    """The arithmetic of layers built from now on; weights, norms, softmax and losses stay float32."""
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")


def hold_in(dtype: str) -> None:
    """What layers built from now on hold their weights in and compute in; norms, softmax and rotation stay float32."""
    keras.config.set_dtype_policy(dtype)


def xla_reads(dtype: str) -> bool:
    """Whether an XLA program reads weights of this dtype where they are: one for CPUs copies 16 bits to float32, all at once."""
    return dtype == "float32" or bool(_gpus())


def product_flops(rows: int, inner: int, columns: int, precision: Precision, *, seconds: float = 0.05, xla: bool = False) -> float:
    """FLOP/s of a matrix product [rows, inner] x [inner, columns], the best of five calls and of as many as fit in so many seconds.

    Five, since of one that a busy machine held up a run would conclude that it has other units.
    """
    generator = np.random.default_rng(0)
    left = tf.cast(generator.standard_normal((rows, inner), dtype=np.float32), precision)
    right = tf.cast(generator.standard_normal((inner, columns), dtype=np.float32), precision)
    repeats = max(1, min(64, int(2e9 / (2 * rows * inner * columns))))

    @tf.function(jit_compile=xla, autograph=False)
    def product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        total = tf.zeros((), tf.float32)
        for i in range(repeats):
            total += tf.cast(tf.reduce_max(tf.matmul(a * tf.cast(i + 1, a.dtype), b)), tf.float32)
        return total

    product(left, right).numpy()
    taken, end = list[float](), time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        product(left, right).numpy()
        taken.append(time.perf_counter() - start)
    return 2.0 * rows * inner * columns * repeats / min(taken)


def peak_flops(precision: Precision) -> float:
    """FLOP/s that the device can reach: the maker's figure for known GPUs, otherwise measured in a fraction of a second.

    Of TPUs it is not known: 0.
    """
    device = facts()
    if device.kind == "tpu":
        return 0.0
    if device.kind == "gpu":
        for name, peaks in GPU_PEAKS.items():
            if name in device.name:
                return peaks[get_args(Precision).index(precision)]
    return product_flops(1024, 1024, 1024, precision, seconds=0.2)
