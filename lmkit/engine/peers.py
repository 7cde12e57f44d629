"""The other processes of a run, by plain TCP: who is there before TensorFlow starts, and who has ended since."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator

from lmkit.engine.cluster import Cluster, names, split
from lmkit.errors import Interrupted, MachineError, Problem

PATIENCE = 2.0  # seconds in which a connection is made, or not
PAUSE = 0.1  # seconds between two rounds of questions
LINGER = 0.5  # seconds in which one that has found all others still answers them
EVERY = 1.0  # seconds between two looks at a process that was there
GREETING = b"lmkit\n"
GONE = "nothing listens there"
SILENT = "it takes the connection and says nothing, as a process that hangs"


def reach(address: str, timeout: float = PATIENCE) -> str:
    """Connects, hears the first word and hangs up; gives what stands in the way, empty where nothing does.

    The first word is lmkit's or, of processes that have joined, TensorFlow's: of one that hangs only the system answers.
    """
    connected = False
    try:
        with socket.create_connection(split(address), timeout) as connection:
            connected = True
            return "" if connection.recv(1) else "something else listens there, and hangs up"
    except ConnectionRefusedError:
        return GONE
    except socket.gaierror:
        return "no machine has that name"
    except TimeoutError:
        return SILENT if connected else f"no answer in {timeout:g} seconds"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def loss(cluster: Cluster, index: int, *, ended: bool | None = None) -> str:
    """`worker 1 of 2 at host:port has ended`, or `no longer answers`; asked where it is not known to have `ended`."""
    ended = reach(cluster.workers[index]) == GONE if ended is None else ended
    return f"{names([index], cluster)} {'has ended' if ended else 'no longer answers'}"


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing uses."""
    with contextlib.ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


@contextlib.contextmanager
def listening(cluster: Cluster) -> Iterator[None]:
    """Within the block, the others are answered at this process's port. Raises MachineError when that is not free."""
    port = split(cluster.workers[cluster.index])[1]
    try:
        server = socket.create_server(("", port), backlog=128)
    except OSError as error:
        what = f"port {port} of {cluster.me} cannot be used: {(error.strerror or str(error)).lower()}"
        raise MachineError(Problem(what, cluster.source, "environment")) from None
    server.settimeout(PAUSE)
    ended = threading.Event()

    def greet() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), server.accept()[0] as connection:
                connection.sendall(GREETING)

    thread = threading.Thread(target=greet, name="greetings", daemon=True)
    with server:
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def meet(cluster: Cluster, *, seconds: float, stop: Callable[[], bool] = lambda: False, stay: bool = False) -> dict[int, str]:
    """Waits until every other process has answered once, and a moment longer; with `stay`, all the time for those that come late.

    Gives what stands in the way of those that did not answer in `seconds`. Raises Interrupted once `stop()` is true,
    MachineError when this process's own port is taken.
    """
    end, absent = time.monotonic() + seconds, dict.fromkeys((i for i in range(len(cluster.workers)) if i != cluster.index), "")
    with listening(cluster):
        while True:
            if stop():
                raise Interrupted("stopped while waiting for the other processes; nothing is lost")
            absent = {i: problem for i in absent if (problem := reach(cluster.workers[i]))}
            if not absent and not stay:
                time.sleep(LINGER)
            if (not absent and not stay) or time.monotonic() >= end:
                return absent
            time.sleep(PAUSE)


def require_all(cluster: Cluster, *, seconds: float, stop: Callable[[], bool]) -> None:
    """`meet`, and MachineError naming those that did not come."""
    absent = meet(cluster, seconds=seconds, stop=stop)
    if absent:
        why = next(iter(absent.values()))
        what = f"{names(list(absent), cluster)} did not come in {seconds / 60:g} minutes ({why}); lmkit doctor on each machine says more"
        raise MachineError(Problem(what, cluster.source, "environment"))


class Watch:
    """A thread that looks every second whether the other processes still listen; the first that has ended is `lost`.

    A machine that is switched off or hangs does not refuse a connection: of those TensorFlow's own heartbeats tell, and where
    there are none yet, that it was silent at `hung` looks in a row.
    """

    def __init__(self, cluster: Cluster, on_loss: Callable[[], None], *, hung: float = math.inf) -> None:
        self.lost: int | None = None
        self._cluster, self._on_loss, self._hung = cluster, on_loss, hung
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="peers", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """No more looks."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        refused, silent = (dict.fromkeys(self._cluster.watched(), 0) for _ in range(2))
        while not self._ended.wait(EVERY):
            for index in refused:
                if self._ended.is_set():
                    return
                problem = reach(self._cluster.workers[index])
                refused[index] = refused[index] + 1 if problem == GONE else 0
                silent[index] = silent[index] + 1 if problem else 0
                if refused[index] == 2 or silent[index] >= self._hung:
                    self.lost = index
                    self._on_loss()
                    return
