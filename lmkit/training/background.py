"""Work in a thread of its own, one piece at a time, whose failure reaches who asked for it."""

import threading
from collections.abc import Callable

LOOKS = 1.0  # seconds between two looks of who waits


class Background:
    """`start` begins a piece of work once the one before it is done. What that raised is raised by the next call of anything here.

    Who waits for it calls `waiting` again and again.
    """

    def __init__(self, name: str, waiting: Callable[[], None]) -> None:
        self._name, self._waiting, self._thread = name, waiting, threading.Thread()
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Returns at once; the process does not end before the work does."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(work,), name=self._name)
        self._thread.start()

    def check(self) -> None:
        """Raises what the work raised, if it has ended so."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """The same, once the work has ended."""
        while self._thread.is_alive():
            self._waiting()
            self._thread.join(LOOKS)
        self.check()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # belongs to who waits, whatever it is
            self._error = error
