"""Stopping on request: the first signal asks for a save, a second SIGINT or SIGTERM ends the process at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from lmkit.errors import Interrupted

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
INSISTING = (signal.SIGINT, signal.SIGTERM)
POLITE = " after this step and saving; repeat Ctrl-C or SIGTERM to stop without saving"


class StopRequest:
    """Call it to ask whether to stop; `name` is the signal's, such as SIGTERM."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.heard: Callable[[], None] = lambda: None  # called whenever somebody asks, which is a sign of life
        self.renew: Callable[[], object] = lambda: None  # watches again, after a library has put its own handlers in place

    def __call__(self) -> bool:
        self.heard()
        return self.number is not None

    def require_none(self, doing: str) -> None:
        """Raises Interrupted where somebody has asked, before there is anything to save."""
        if self():
            raise Interrupted(f"stopped before {doing}; nothing is lost, the same command goes on")

    @property
    def name(self) -> str:
        return "" if self.number is None else signal.Signals(self.number).name

    def guarding(self, write: Callable[[str], None]) -> Callable[[str], None]:
        """`write`, but output that cannot be written (the reader of a pipe is gone, a disk is full) asks to stop instead of raising."""

        def written(text: str) -> None:
            try:
                write(text)
            except OSError:
                self.number = self.number or signal.SIGPIPE

        return written


@contextlib.contextmanager
def watch(say: Callable[[str], None], *, saves: bool = True) -> Iterator[StopRequest]:
    """Within the block, signals ask instead of ending the process; the former handlers come back behind it.

    `say` is given one line at the first signal, about saving if the block `saves`. A thread writes it, because Python runs
    no handler while the main thread is inside a compiler; the same thread ends the process (exit 128 + signal) when SIGINT
    or SIGTERM is repeated.
    Signals that the process was started to ignore (nohup) stay ignored. In any thread but the main one nothing is watched.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def asked(number: int, frame: object) -> None:
        if request.number is None:
            request.number = number

    taken = [number for number in ASKING if signal.getsignal(number) is not signal.SIG_IGN]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    thread = threading.Thread(target=_listen, args=(reader, request, say, saves), name="signals", daemon=True)
    thread.start()
    former_descriptor = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def take() -> dict[int, Any]:
        return {number: signal.signal(number, asked) for number in taken}

    former, request.renew = take(), take
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_descriptor)
        os.close(writer)
        thread.join()
        os.close(reader)


def _listen(reader: int, request: StopRequest, say: Callable[[str], None], saves: bool) -> None:
    """Reads the number of every signal from the pipe, until the other end is closed."""
    asked = False
    while numbers := os.read(reader, 64):
        for number in numbers:
            if number not in ASKING:
                continue
            if asked and number in INSISTING:
                os._exit(128 + number)
            if not asked:
                asked = True
                request.number = request.number or number
                name = signal.Signals(number).name
                with contextlib.suppress(Exception):  # a closed terminal is no reason not to save
                    say(f"{name}: stopping{POLITE if saves else '; repeat Ctrl-C or SIGTERM to stop at once'}")
