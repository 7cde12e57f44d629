"""The table that every campaign adds its rows to, and what a campaign is given to work with."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One fault: how it was done, what came of it, what was wanted, and whether that is so."""

    fault: str
    how: str
    result: str
    wanted: str
    is_right: bool


@dataclass
class Lab:
    """A folder that is a campaign's own, how much is to be done, and where its lines go.

    `short` leaves out what needs TensorFlow; `rounds` is how often, None for what each campaign holds to be enough.
    """

    base: Path
    short: bool = False
    rounds: int | None = None
    seed: int = 0
    limit: float = 900.0  # seconds that one start may take
    say: Callable[[str], None] = lambda line: None
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def many(self, short: int, long: int) -> int:
        """How often, unless `rounds` says so."""
        return self.rounds if self.rounds is not None else short if self.short else long

    def folder(self, name: str) -> Path:
        """A new folder below the base."""
        path = self.base / name
        path.mkdir(parents=True)
        return path


def table(rows: Sequence[Row]) -> str:
    """Markdown, with the day."""
    lines = [f"{time.strftime('%Y-%m-%d')}", "", "| fault | how | result | wanted | |", "|---|---|---|---|---|"]
    lines += [f"| {row.fault} | {row.how} | {row.result} | {row.wanted} | {'yes' if row.is_right else '**NO**'} |" for row in rows]
    return "\n".join(lines)
