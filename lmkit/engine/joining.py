"""The moment in which TensorFlow joins the processes of a run: all of them there, none lost meanwhile, and signals still heard."""

import atexit
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python import pywrap_tfe  # has the one call in which TensorFlow waits for the other processes

from lmkit.engine.cluster import Cluster
from lmkit.engine.peers import Watch, loss, require_all
from lmkit.errors import Interrupted

LOOK = 0.02  # seconds between two looks, in which a signal would be TensorFlow's
HUNG = 4  # looks at a process that accepts a connection and says nothing, each of some seconds
LOST = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
)


@contextmanager
def joining(cluster: Cluster, *, seconds: float, stop: Callable[[], bool]) -> Iterator[None]:
    """Within the block, TensorFlow joins the processes once all of them have come so far, and `stop` is asked all the time.

    Python would stand still in that call, so it is made in a thread, in which it stays where this raises: MachineError for
    processes that do not come in `seconds`, Interrupted once `stop()` is true, one of them is lost, or joining takes `seconds`.
    """

    def join(context: Any, definition: bytes) -> None:
        require_all(cluster, seconds=seconds, stop=stop)
        done: list[Exception | None] = []
        thread = threading.Thread(target=lambda: done.append(_enable(context, definition)), name="joining", daemon=True)
        watch, end = Watch(cluster, lambda: None, hung=HUNG), time.monotonic() + seconds
        thread.start()
        try:
            while thread.is_alive():
                if stop():
                    raise Interrupted("stopped while joining the other processes; nothing is lost")
                if watch.lost is not None:
                    raise Interrupted(f"{loss(cluster, watch.lost)} before all were joined; start all processes again")
                if time.monotonic() > end:
                    raise Interrupted(f"not all processes were joined in {seconds / 60:g} minutes; start all of them again")
                thread.join(LOOK)
        finally:
            watch.end()
        if done[0] is not None:
            raise done[0]

    former, pywrap_tfe.TFE_EnableCollectiveOps = pywrap_tfe.TFE_EnableCollectiveOps, join
    try:
        yield
    except BaseException as error:
        atexit.register(os._exit, getattr(error, "exit_code", Interrupted.exit_code))  # TensorFlow's own end would wait for the others
        if isinstance(error, LOST):
            raise Interrupted("another process was lost before all were joined; start all processes again") from error
        raise
    finally:
        pywrap_tfe.TFE_EnableCollectiveOps = former


def _enable(context: Any, definition: bytes) -> Exception | None:
    """The same call of TensorFlow's C library, which lets other threads of Python run; gives what went wrong."""
    library = ctypes.CDLL(str(next(Path(tf.sysconfig.get_lib()).glob("libtensorflow_cc.*"))))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, *arguments in (
        ("TF_NewStatus", pointer),
        ("TF_GetCode", ctypes.c_int, pointer),
        ("TF_Message", text, pointer),
        ("TF_DeleteStatus", None, pointer),
        ("TFE_EnableCollectiveOps", None, pointer, text, ctypes.c_size_t, pointer),
    ):
        getattr(library, name).restype, getattr(library, name).argtypes = result, arguments
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = pointer, [ctypes.py_object, text]
    status = library.TF_NewStatus()
    library.TFE_EnableCollectiveOps(address(context, None), definition, len(definition), status)
    code, message = library.TF_GetCode(status), (library.TF_Message(status) or b"").decode(errors="replace")
    library.TF_DeleteStatus(status)
    return tf.errors.exception_type_from_error_code(code)(None, None, message) if code else None
