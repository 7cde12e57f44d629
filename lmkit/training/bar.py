"""How far a training is: one bar that stays in place on a terminal, a line now and then where output is piped."""

import time
from collections import deque
from collections.abc import Callable, Mapping

BLOCKS = " ▏▎▍▌▋▊▉█"
REDRAW, LINE = 0.1, 15.0  # seconds between two drawings of the bar, between two plain lines
RECENT = 200  # calls that the speed is taken from


class Bar:
    """The loop's `progress` hook. `write` takes text as it is; `tokens_per_step` are real tokens, padding left out."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        is_terminal: bool,
        width: int = 80,
        tokens_per_step: float = 0.0,
        unicode: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._is_terminal, self._width = write, is_terminal, width
        self._tokens_per_step, self._unicode, self._clock = tokens_per_step, unicode, clock
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self._drawn_at = -LINE
        self._drawn = self._due = ""

    def __call__(self, step: int, total: int, scalars: Mapping[str, float]) -> None:
        """Redraws, or writes a line, when enough time has passed or the last step is done."""
        now = self._clock()
        self._recent.append((now, step))
        words = [f"loss {scalars['loss']:.4g}"] if "loss" in scalars else []
        self._due = self._bar(step, total, words + self._speed(step, total))
        if step >= total or now - self._drawn_at >= (REDRAW if self._is_terminal else LINE):
            self._drawn_at = now
            self._draw()

    def line(self, text: str) -> None:
        """Writes a line of its own above the bar."""
        if self._drawn and self._is_terminal:
            self._write("\r" + " " * len(self._drawn) + "\r")
        self._write(text + "\n")
        if self._drawn and self._is_terminal:
            self._write(self._drawn)

    def close(self) -> None:
        """Draws the last state and ends its line."""
        if self._due and self._due != self._drawn:
            self._draw()
        if self._drawn and self._is_terminal:
            self._write("\n")
        self._drawn = self._due = ""

    def _draw(self) -> None:
        if self._is_terminal:
            self._write("\r" + self._due + " " * (len(self._drawn) - len(self._due)))
        else:
            self._write(self._due + "\n")
        self._drawn = self._due

    def _speed(self, step: int, total: int) -> list[str]:
        (start, first), (now, _) = self._recent[0], self._recent[-1]
        if step <= first or now <= start:
            return []
        rate = (step - first) / (now - start)
        words = [f"{short(rate * self._tokens_per_step)} tokens/s" if self._tokens_per_step else f"{rate:.3g} steps/s"]
        return [*words, f"ETA {duration((total - step) / rate)}"] if step < total else words

    def _bar(self, step: int, total: int, words: list[str]) -> str:
        tail = "  ".join([f"{step:>{len(str(total))}}/{total}", *words])
        if not self._is_terminal:
            return f"step {tail.strip()}"
        room = min(self._width - 1 - len(tail) - 3, 40)
        return (filled(step / total, room, self._unicode) + "  " + tail if room >= 4 else tail)[: self._width - 1]


def filled(share: float, width: int, unicode: bool = True) -> str:
    """`filled(0.5, 6)` -> `███   `, to an eighth of a character."""
    if not unicode:
        return ("#" * round(share * width)).ljust(width, ".")
    eighths = round(max(0.0, min(share, 1.0)) * width * 8)
    return (BLOCKS[-1] * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")).ljust(width)


def short(number: float) -> str:
    """`12345` -> `12.3k`."""
    for size, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{suffix}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """`3725` -> `1:02:05`, `65` -> `1:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
