"""The engine on TensorFlow: compiled functions, gradients, replicas and variables; a later jax.py offers the same functions."""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lmkit.errors import MachineError, NumericsError, OutOfMemory, Problem

Tensor = Any
_tracing = threading.local()  # .mode: what the Python code of this thread is being compiled for


@contextmanager
def compiling(value: str | None) -> Iterator[None]:
    """Within the block, Python code is traced for `xla`, one program of all, or for a `graph` of single kernels."""
    before = getattr(_tracing, "mode", None)
    _tracing.mode = "xla" if before == "xla" else value
    try:
        yield
    finally:
        _tracing.mode = before


class Compiled:
    """A function of arrays that is compiled once for each set of input shapes; `compilations` counts them.

    `xla` makes one XLA program of the whole function; otherwise it is a graph of TensorFlow's own kernels.
    """

    def __init__(self, function: Callable[..., Any], *, xla: bool) -> None:
        self.compilations = 0

        def traced(*args: Any) -> Any:
            self.compilations += 1
            with compiling("xla" if xla else "graph"):
                return function(*args)

        self._call = tf.function(traced, jit_compile=xla, autograph=False)

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)


def compiled(function: Callable[..., Any], *, xla: bool = False) -> Compiled:
    """Compiles a function of (nested) arrays; Python numbers must be passed as numpy scalars, or each value compiles anew."""
    return Compiled(function, xla=xla)


def value_and_grad(function: Callable[[], tuple[Tensor, Any]], variables: Sequence[keras.Variable]) -> tuple[Tensor, Any, list[Tensor]]:
    """`function() -> (scalar, rest)`: gives the scalar, the rest, and the scalar's gradient by each Keras variable.

    Gradients are dense (rows that an embedding meets several times are summed, which Adam's second moment needs) and zero
    for variables that the scalar does not depend on.
    """
    values = [variable.value for variable in variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        scalar, rest = function()
    gradients = tape.gradient(scalar, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return scalar, rest, [tf.convert_to_tensor(gradient) for gradient in gradients]


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs `function(*tensors) -> tensor or tuple` as one small XLA kernel inside a plain graph, forward and backward.

    The backward kernel computes the function again from its inputs, so nothing between them is stored. The function must be
    pure: no variables, no Python state. Outside a compiled graph, inside a whole-step XLA program, or on symbolic Keras
    tensors it is a plain call. Gradients go to float inputs only; second derivatives are not supported.
    """
    forward = tf.function(function, jit_compile=True, autograph=False)

    def backward_function(floats: tuple[int, ...], upstream: tuple[Tensor, ...], *tensors: Tensor) -> list[Tensor]:
        sources = [tensors[i] for i in floats]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            values = tf.nest.flatten(function(*tensors))
        return tape.gradient(values, sources, output_gradients=list(upstream), unconnected_gradients=tf.UnconnectedGradients.ZERO)

    backward = tf.function(backward_function, jit_compile=True, autograph=False)

    @tf.custom_gradient
    def kernel(*tensors: Tensor) -> Any:
        floats = tuple(i for i, tensor in enumerate(tensors) if tensor.dtype.is_floating)

        def gradient(*upstream: Tensor) -> list[Tensor | None]:
            by_index = dict(zip(floats, backward(floats, upstream, *tensors), strict=True))
            return [by_index.get(i) for i in range(len(tensors))]

        return forward(*tensors), gradient

    @functools.wraps(function)
    def call(*tensors: Tensor) -> Any:
        if getattr(_tracing, "mode", None) != "graph" or any(isinstance(t, keras.KerasTensor) for t in tensors):
            return function(*tensors)
        return kernel(*(tf.convert_to_tensor(tensor) for tensor in tensors))

    return call


def recompute(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function(*tensors)` whose inner results are not stored but computed again in the backward pass.

    Gradients reach the positional tensors and the variables that the function uses; what it closes over gets none. The
    function must give the same values both times, which counter-based dropout does.
    """
    inner = tf.recompute_grad(function)

    def call(*tensors: Tensor) -> Tensor:
        symbolic = any(isinstance(tensor, keras.KerasTensor) for tensor in tensors)
        return function(*tensors) if symbolic else inner(*tensors)

    return call


def in_chunks(
    function: Callable[..., tuple[Tensor, ...]], rows: Sequence[Tensor], shared: Sequence[Tensor], size: int, dtypes: Sequence[str]
) -> tuple[Tensor, ...]:
    """`function(*rows, *shared)`, of `size` rows at a time, so that what it computes in between never exists for all rows at once.

    It gives tensors of these `dtypes` with an entry for each row, which depends on no other row. The backward pass computes
    each chunk again; gradients reach rows and shared tensors, and the function may use no variables. Fewer rows, and symbolic
    Keras tensors, are a plain call.
    """
    if any(isinstance(tensor, keras.KerasTensor) for tensor in (*rows, *shared)):
        return function(*rows, *shared)
    rows, shared = [tf.convert_to_tensor(tensor) for tensor in rows], [tf.convert_to_tensor(tensor) for tensor in shared]
    count = rows[0].shape[0]
    if count <= size:
        return function(*rows, *shared)
    chunks = -(-count // size)

    def cut(tensors: Sequence[Tensor]) -> list[Tensor]:
        padded = [tf.pad(tensor, [[0, chunks * size - count]] + [[0, 0]] * (tensor.shape.rank - 1)) for tensor in tensors]
        return [tf.reshape(tensor, (chunks, size, *tensor.shape[1:])) for tensor in padded]

    def arrays(of: Sequence[tuple[Any, Any]]) -> list[tf.TensorArray]:
        return [tf.TensorArray(dtype, chunks, element_shape=shape) for dtype, shape in of]

    def joined(array: tf.TensorArray) -> Tensor:
        stacked = array.stack()
        return tf.reshape(stacked, (chunks * size, *stacked.shape[2:]))[:count]

    @tf.custom_gradient
    def whole(*tensors: Tensor) -> Any:
        parts, others = cut(tensors[: len(rows)]), tensors[len(rows) :]
        float_rows, float_others = ([i for i, tensor in enumerate(group) if tensor.dtype.is_floating] for group in (parts, others))

        def forward(i: Tensor, made: list[tf.TensorArray]) -> list[tf.TensorArray]:
            return [array.write(i, value) for array, value in zip(made, function(*(part[i] for part in parts), *others), strict=True)]

        def gradient(*upstream: Tensor) -> list[Tensor | None]:
            above = cut(upstream)

            def backward(i: Tensor, state: Any) -> Any:
                inner, (made, totals) = [part[i] for part in parts], state
                sources = [*(inner[j] for j in float_rows), *(others[j] for j in float_others)]
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(sources)
                    values = function(*inner, *others)
                found = tape.gradient(values, sources, [part[i] for part in above], unconnected_gradients=tf.UnconnectedGradients.ZERO)
                made = [array.write(i, value) for array, value in zip(made, found[: len(made)], strict=True)]
                return made, [total + value for total, value in zip(totals, found[len(made) :], strict=True)]

            start = arrays([(parts[j].dtype, parts[j].shape[1:]) for j in float_rows]), [tf.zeros_like(others[j]) for j in float_others]
            made, totals = loop(np.int32(chunks), backward, start)
            by_row = {j: joined(array) for j, array in zip(float_rows, made, strict=True)}
            by_other = dict(zip(float_others, totals, strict=True))
            return [*(by_row.get(j) for j in range(len(rows))), *(by_other.get(j) for j in range(len(others)))]

        made = loop(np.int32(chunks), forward, arrays([(dtype, (size,)) for dtype in dtypes]))
        return tuple(joined(array) for array in made), gradient

    return whole(*rows, *shared)


def loop(count: Tensor, body: Callable[[Tensor, Any], Any], state: Any) -> Any:
    """`for i in range(count): state = body(i, state)` inside a compiled function; one iteration at a time, shapes unchanged."""
    start = tf.zeros((), tf.int32)
    _, state = tf.while_loop(lambda i, s: i < count, lambda i, s: (i + 1, body(i, s)), (start, state), parallel_iterations=1)
    return state


def sum_of_squares(tensor: Tensor) -> Tensor:
    """Sum of squares of all elements, float32, in one pass."""
    return 2.0 * tf.nn.l2_loss(tf.cast(tensor, tf.float32))


class Replicas:
    """One device, or several that hold a copy of each variable and share the rows of a batch.

    They may belong to several processes (engine/workers.py); here there is one, which is the chief. Where the strategy
    `compiles`, what is run is one XLA program already (engine/tpu.py).
    """

    is_chief = True
    compiles = False
    waits = False  # for another process

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self.count: int = strategy.num_replicas_in_sync

    @property
    def kind(self) -> str:
        """The word of `runtime.strategy` that means these."""
        return "mirrored" if self.count > 1 else "one_device"

    @property
    def sharing(self) -> int:
        """How many of them, where they are processors, are of one machine and share its memory."""
        return self.count

    def scope(self) -> Any:
        """Context in which variables must be created."""
        return self._strategy.scope()

    def run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Calls the function on every replica, inside a compiled function."""
        mode = getattr(_tracing, "mode", None)

        def replica(*inner: Any) -> Any:  # a replica may have its own thread
            with compiling(mode):
                return function(*inner)

        return replica(*args) if self.count == 1 else self._strategy.run(replica, args=args)

    def sum(self, tensors: list[Tensor]) -> list[Tensor]:
        """The sum over replicas of each tensor, on every replica; called inside `run`."""
        if self.count == 1:
            return tensors
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)

    def split(self, batch: Mapping[str, np.ndarray], axis: int = 0) -> Any:
        """Gives each replica its contiguous slice along `axis`; arrays of fewer axes go to all."""
        if self.count == 1:
            return dict(batch)

        def slice_of(context: Any) -> dict[str, Tensor]:
            def part(array: np.ndarray) -> Tensor:
                if array.ndim <= axis:
                    return tf.convert_to_tensor(array)
                rows = array.shape[axis] // self.count
                index = context.replica_id_in_sync_group
                return tf.convert_to_tensor(array.take(range(index * rows, (index + 1) * rows), axis))

            return {name: part(np.asarray(array)) for name, array in batch.items()}

        return self._strategy.experimental_distribute_values_from_function(slice_of)

    def first(self, value: Any) -> Any:
        """The first replica's value of what `run` gave, as numpy."""
        return tf.nest.map_structure(lambda leaf: np.asarray(self._strategy.experimental_local_results(leaf)[0]), value)

    def rows(self, value: Any) -> Any:
        """What `run` gave, its replicas' rows joined in order, as numpy."""
        return tf.nest.map_structure(
            lambda leaf: np.concatenate([np.asarray(part) for part in self._strategy.experimental_local_results(leaf)]), value
        )

    def any(self, asked: bool) -> bool:
        """Whether it was asked in any process; all of them ask at the same places, in the same order."""
        return asked

    def told(self, value: Any) -> Any:
        """The chief's value, which is JSON, in every process."""
        return value

    def align(self, variables: Sequence[keras.Variable]) -> None:
        """Gives the variables the chief's bits in every process."""

    def update(self, condition: Tensor, updates: Callable[[], Sequence[tuple[keras.Variable, Tensor]]]) -> None:
        """Assigns the (variable, value) pairs iff the scalar condition holds, on each replica its own copy; inside `run`.

        Condition and values must be the same on all replicas. In a plain graph nothing is computed when it does not hold; an
        XLA program selects, which there costs no pass over memory, whereas a branch copies every variable.
        """
        if getattr(_tracing, "mode", None) == "xla":
            for variable, value in updates():
                local = self._local(variable)
                local.assign(tf.where(condition, value, local))
            return

        def taken() -> Tensor:
            for variable, value in updates():
                self._local(variable).assign(value)
            return tf.zeros(())

        tf.cond(condition, taken, lambda: tf.zeros(()))

    def _local(self, variable: keras.Variable) -> tf.Variable:
        if self.count == 1:
            return variable.value
        index = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
        if index is None:  # one program for all replicas, in which the variable is each one's own
            return variable.value
        local = self._strategy.experimental_local_results(variable.value)
        return local[index % len(local)]


def replicas(kind: str, count: int | None = None) -> Replicas:
    """The devices of a run: `one_device`, `mirrored` over `count` (default: all) devices, or `auto` = mirrored over several GPUs.

    Raises MachineError when fewer devices are there than asked for. A process can make one mirrored set.
    """
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if kind == "auto":
        kind = "mirrored" if (count or len(found)) > 1 else "one_device"
    if count is not None and count > len(found):
        raise MachineError(Problem(f"{count} devices are asked for and TensorFlow sees {len(found)}", "runtime.replicas"))
    if kind == "one_device":
        return Replicas(tf.distribute.get_strategy())
    if kind == "mirrored" and count is None and found[0].device_type != "GPU":
        what = "mirrored takes all GPUs, and TensorFlow sees none; write auto, or runtime.replicas for so many parts of the processor"
        raise MachineError(Problem(what, "runtime.strategy"))
    names = [device.name for device in found[:count]]
    return Replicas(tf.distribute.MirroredStrategy(names)) if len(names) > 1 else Replicas(tf.distribute.get_strategy())


def finite(scores: Tensor) -> np.ndarray:
    """What a model computed, on the host. Raises NumericsError where real numbers are not finite: float16 ends at 65504."""
    found = np.asarray(scores)
    if found.dtype.kind in "fV" and not np.isfinite(found).all():
        raise NumericsError(Problem("what the model computes is not finite in this dtype; choose bfloat16 or float32", "--dtype"))
    return found


@contextmanager
def memory_is_short() -> Iterator[None]:
    """Within the block a device without enough memory raises OutOfMemory."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OutOfMemory(Problem(str(error.message).splitlines()[0])) from error


def exchange(one: keras.Variable, other: keras.Variable) -> None:
    """Swaps the values of two variables of one shape and dtype, on every replica; called outside of compiled functions."""
    value = tf.identity(one.value)
    one.assign(other.value)
    other.assign(value)


def as_numpy(variable: keras.Variable) -> np.ndarray:
    """The value of a variable on the host."""
    return variable.value.numpy()
