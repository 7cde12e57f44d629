"""The cores of a TPU as one set of replicas: found on this machine or by a name, and one XLA program for all of them."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from lmkit.engine.tensorflow import Replicas, compiling
from lmkit.errors import MachineError, Problem

LOCAL = "local"  # TensorFlow's word for the TPU of the machine itself
NAMES = ("TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS")  # where Google's clouds tell which TPU a machine has


class Tpu(Replicas):
    """The cores of a TPU. What they run is traced once, for all of them, and becomes one program of XLA."""

    compiles = True

    @property
    def kind(self) -> str:
        return "tpu"

    def run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        def replica(*inner: Any) -> Any:
            with compiling("xla"):
                return function(*inner)

        return self._strategy.run(replica, args=args)


def is_here(environment: Mapping[str, str]) -> bool:
    """Whether this machine has a TPU, or its environment names one."""
    return any(environment.get(name) for name in NAMES) or _local()


def _local() -> bool:
    return bool(tf.config.list_physical_devices("TPU"))


def tpu(name: str | None, environment: Mapping[str, str]) -> Tpu:
    """The TPU of that name or address, `local` for this machine's; None: the one that `is_here`.

    Raises MachineError where it is not there or does not answer.
    """
    if not (name or is_here(environment)) or (name == LOCAL and not _local()):
        what = f"there is no TPU: TensorFlow sees none here and {NAMES[0]} is not set; name one with runtime.tpu, or write auto"
        raise MachineError(Problem(what, "runtime.strategy"))
    word = name or (LOCAL if _local() else "")
    try:
        return Tpu(connect(word))
    except (tf.errors.OpError, ValueError, RuntimeError, OSError, ImportError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise MachineError(Problem(f"the TPU {word or 'of the environment'} cannot be used: {said}", "runtime.tpu")) from None


def connect(name: str) -> tf.distribute.Strategy:
    """Connects to a TPU and starts its system, which forgets what was there."""
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
    if name != LOCAL:
        tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
