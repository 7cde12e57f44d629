"""Turns drawn ids into text that may be shown: whole characters only, cut exactly before a stop string."""

from collections.abc import Callable, Sequence


class TextStream:
    """The text of one continuation, growing id by id.

    `decode(ids) -> str` sees the last prompt ids too, so that joining marks (spaces, ##) come out as in whole text.
    Text that could still turn into a stop string, or is half a character, is held back until it cannot.
    """

    def __init__(self, decode: Callable[[list[int]], str], prompt: Sequence[int], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._ids = [int(i) for i in prompt[-16:]]
        self._before = decode(self._ids) if self._ids else ""
        self._stop = tuple(s for s in stop if s)
        self._shown = 0
        self.text = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Takes one more id and returns the text that became certain with it; sets `stopped` at a stop string."""
        self._ids.append(int(token))
        whole = self._decode(self._ids)
        same = 0
        while same < min(len(whole), len(self._before)) and whole[same] == self._before[same]:
            same += 1
        self.text = whole[same:]
        found = [at for at in map(self.text.find, self._stop) if at >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True
        return self._show(len(self.text) if found else len(self.text) - self._uncertain())

    def finish(self) -> str:
        """Returns what was held back, when no more ids come."""
        return self._show(len(self.text))

    def _show(self, end: int) -> str:
        new = self.text[self._shown : end]
        self._shown = max(self._shown, end)
        return new

    def _uncertain(self) -> int:
        """Length of the tail that is half a character or the beginning of a stop string."""
        certain = self.text.rstrip("�")
        begun = (n for s in self._stop for n in range(1, len(s)) if certain.endswith(s[:n]))
        return len(self.text) - len(certain) + max(begun, default=0)
