"""Several processes as one set of replicas, and what becomes of the others when one of them is lost."""

import atexit
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context  # has the only way to end a collective that waits for a process that is gone

from lmkit.engine import devices
from lmkit.engine.cluster import Cluster
from lmkit.engine.joining import LOST, joining
from lmkit.engine.peers import Watch, loss
from lmkit.engine.tensorflow import Replicas
from lmkit.errors import Interrupted, LmkitError, Problem

PIECE = 2**22  # bytes that are sent at once


class Workers(Replicas):
    """The devices of all processes of a cluster; each process gives its own the rows of the global batch that are theirs.

    What is sent between processes outside of a step travels as sums of float32, which every device can add: two bytes in
    each number, and zeros from all others, so that no bit changes.
    """

    def __init__(self, cluster: Cluster, *, seconds: float, stop: Callable[[], bool]) -> None:
        """Waits for the others: raises MachineError for those that do not come in `seconds`, Interrupted where `stop()` is true or
        one is lost.
        """
        devices.configure(deterministic=True, collectives=True)
        jobs = tf.train.ClusterSpec({"worker": list(cluster.workers)})
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(jobs, task_type="worker", task_id=cluster.index, rpc_layer="grpc")
        with joining(cluster, seconds=seconds, stop=stop):
            strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        super().__init__(strategy)
        self.cluster, self.is_chief = cluster, cluster.is_chief
        self._own = self.count // len(cluster.workers)  # replicas of a process
        # The identity has a device, by which the strategy knows where a sum is wanted.
        self._add = tf.function(lambda all_: self._strategy.run(lambda one: self.sum([tf.identity(one)]), args=(all_,)), autograph=False)

    @property
    def kind(self) -> str:
        return "multi_worker"

    @property
    def sharing(self) -> int:
        return self._own * self.cluster.most_on_a_host()

    def rows(self, value: Any) -> Any:
        """What `run` gave in all processes, the rows of all replicas joined in order, as numpy."""
        here = super().rows(value)
        leaves = tf.nest.flatten(here)
        mine = b"".join(leaf.tobytes() for leaf in leaves)
        parts = [self._sent(mine, len(mine), sender) for sender in range(len(self.cluster.workers))]
        joined, at = [], 0
        for leaf in leaves:
            joined.append(np.concatenate([np.frombuffer(p[at : at + leaf.nbytes], leaf.dtype).reshape(leaf.shape) for p in parts]))
            at += leaf.nbytes
        return tf.nest.pack_sequence_as(here, joined)

    def any(self, asked: bool) -> bool:
        return bool(self._sum(np.array([asked], np.float32))[0] > 0)

    def told(self, value: Any) -> Any:
        data = json.dumps(value).encode() if self.is_chief else b""
        size = int.from_bytes(self._sent(len(data).to_bytes(8, "little"), 8, 0), "little")
        return json.loads(self._sent(data, size, 0))

    def align(self, variables: Sequence[keras.Variable]) -> None:
        for variable in variables:
            value = variable.value.numpy()
            found = np.frombuffer(self._sent(value.tobytes(), value.nbytes, 0), value.dtype).reshape(value.shape)
            if not self.is_chief:
                variable.assign(found)

    def _sent(self, data: bytes, size: int, sender: int) -> bytes:
        """`size` bytes, those that the sender has in `data`."""
        whole = np.zeros(size + size % 2, np.uint8)
        if self.cluster.index == sender:
            whole[:size] = np.frombuffer(data, np.uint8)
        halves = whole.view(np.uint16).astype(np.float32)
        pieces = [self._sum(halves[at : at + PIECE // 2]) for at in range(0, len(halves), PIECE // 2)]
        return b"".join(piece.astype(np.uint16).tobytes() for piece in pieces)[:size]

    def _sum(self, numbers: np.ndarray) -> np.ndarray:
        """The sum over processes. Lengths go up to a power of two, of which few are ever compiled."""
        padded = np.zeros(max(1, 1 << (len(numbers) - 1).bit_length()), np.float32)
        padded[: len(numbers)] = numbers

        def part(one: Any) -> tf.Tensor:
            first = one.replica_id_in_sync_group % self._own == 0
            return tf.convert_to_tensor(padded if first else np.zeros_like(padded))

        self.waits = True
        try:
            added = self._add(self._strategy.experimental_distribute_values_from_function(part))
            return np.asarray(self._strategy.experimental_local_results(added[0])[0])[: len(numbers)]
        finally:
            self.waits = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within the block, the loss of another process ends it with Interrupted: in seconds, whatever this process waits for.

        What was wrong here before that stays the error. Either way this process does not wait for the one that is gone.
        """
        watch = Watch(self.cluster, lambda: context.context().abort_collective_ops(tf.errors.UNAVAILABLE, "a process has ended"))
        try:
            yield
        except BaseException as error:
            failed = _operation(error)
            if watch.lost is None and not isinstance(failed, LOST):
                raise
            # TensorFlow's own end would wait for the process that is gone.
            if failed is None:
                atexit.register(os._exit, getattr(error, "exit_code", LmkitError.exit_code))
                raise
            atexit.register(os._exit, Interrupted.exit_code)
            raise Interrupted(Problem(_loss(self.cluster, watch.lost, str(failed)))) from error
        finally:
            watch.end()


def _operation(error: BaseException | None) -> tf.errors.OpError | None:
    """The operation of TensorFlow that failed, where there is one behind the error: what is tidied up after it may fail too."""
    while error is not None and not isinstance(error, tf.errors.OpError):
        error = error.__context__
    return error


def _loss(cluster: Cluster, lost: int | None, said: str) -> str:
    """The line for the user; of a process that does not refuse a connection, TensorFlow knows the number."""
    tasks = [int(number) for number in re.findall(r"/task:(\d+)", said)]
    who = next((task for task in tasks if task != cluster.index), cluster.watched()[0]) if lost is None else lost
    what = loss(cluster, who, ended=True if who == lost else None)
    return f"{what}; the last checkpoint is whole: start all processes again to go on from it"
