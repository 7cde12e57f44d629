"""Batches made ahead of their use, in one thread that ends with its reader."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetch(Generic[Item]):
    """Calls `make(first)`, `make(first + 1)`, ... `make(last - 1)` up to `depth` ahead; `peek` and `take` give them in order.

    An exception of `make` is raised where its item would have been taken. Used as a context: leaving it ends the thread.
    """

    def __init__(self, make: Callable[[int], Item], first: int, last: int, *, depth: int = 4) -> None:
        self._make, self._first, self._last = make, first, last
        self._queue: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(maxsize=depth)
        self._ended = threading.Event()
        self._next: deque[Item] = deque()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)

    def __enter__(self) -> "Prefetch[Item]":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def peek(self) -> Item:
        """The next item, which stays."""
        if not self._next:
            item, error = self._queue.get()
            if error is not None:
                raise error
            assert item is not None
            self._next.append(item)
        return self._next[0]

    def take(self) -> Item:
        """The next item."""
        self.peek()
        return self._next.popleft()

    def give_back(self, items: Iterable[Item]) -> None:
        """Puts the items that were taken last before those to come."""
        self._next.extendleft(reversed(list(items)))

    def _work(self) -> None:
        for index in range(self._first, self._last):
            try:
                made: tuple[Item | None, BaseException | None] = (self._make(index), None)
            except BaseException as error:  # belongs to the reader, whatever it is
                made = (None, error)
            while not self._ended.is_set():
                try:
                    self._queue.put(made, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if self._ended.is_set() or made[1] is not None:
                return
