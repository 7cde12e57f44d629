"""What a task sees of its data: rows of tokens before anything is hidden or labelled, and what their records say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass
class TokenRows:
    """B rows of T cells, int32 unless said.

    `segments` is 0 at padding; `text` (bool) marks the cells that hold text, `first` (bool) those that open a piece of it;
    `following` [B, T] is the token after each cell (causal rows only), `place` [B, T] the number of each text token in its own text
    (windows only); `mark` int64 [B] a pair's label, or the number of the row's record (-1 none); `real` [B] float32 is 0 for rows
    that only fill the batch; `row_key` [B] uint32. `columns` [B, T] are what the source says of its tokens (-1 where there is no
    text). `target` are the rows of what a decoder is to write beside an encoder.
    """

    tokens: np.ndarray
    segments: np.ndarray
    positions: np.ndarray
    token_types: np.ndarray
    row_key: np.ndarray
    real: np.ndarray
    mark: np.ndarray
    text: np.ndarray
    first: np.ndarray
    following: np.ndarray | None = None
    place: np.ndarray | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    target: "TokenRows | None" = None


@dataclass(frozen=True)
class Examples:
    """What the records of some sources say: `values[column]` has an entry for each record, in the order of their numbers.

    Labels are places in `names[column]`, which maps each label in use to the place where it stands first; `counts[column]` says how
    often each occurs in these records. `where(record)` is its place in its file.
    """

    values: Mapping[str, np.ndarray]
    names: Mapping[str, Mapping[str, str]]
    counts: Mapping[str, np.ndarray] = field(default_factory=dict)
    where: Callable[[int], str] = str

    def of(self, column: str, rows: TokenRows) -> np.ndarray:
        """The entries of the rows' records; those of rows that only fill the batch mean nothing."""
        return self.values[column][rows.mark]

    def several(self, column: str, edges: str, rows: TokenRows) -> tuple[np.ndarray, np.ndarray]:
        """(row, entry) of each of the entries that the rows' records have, which lie between `values[edges]` of a record and the next."""
        begin, end = self.values[edges][rows.mark], self.values[edges][rows.mark + 1]
        size = np.where(rows.real > 0, end - begin, 0)
        row = np.repeat(np.arange(len(size)), size)
        return row, self.values[column][(begin - np.cumsum(size) + size)[row] + np.arange(len(row))]
