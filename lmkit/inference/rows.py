"""Rows of tokens through a model: batches of few shapes, and what comes out for each row, whatever else is in its batch."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lmkit.engine.tensorflow import compiled, finite
from lmkit.errors import Interrupted
from lmkit.generation.layout import bucket
from lmkit.inference.opened import OpenedModel
from lmkit.text.template import Row

CELLS = 512  # for each row of a batch at most: where rows are longer there are fewer

Batch = dict[str, Any]
Forward = Callable[[Any, Batch], Any]  # hidden states [B, T, D] and the batch to one or several arrays [B, ...]
More = Callable[[list[int], tuple[int, int]], Batch]


def nothing_more(chosen: list[int], shape: tuple[int, int]) -> Batch:
    return {}


def room(opened: OpenedModel) -> int:
    """The longest row that the model reads."""
    longest = opened.tokenizer.max_length
    return min(opened.data.max_length, longest or opened.data.max_length)


def require_going(opened: OpenedModel) -> None:
    """Raises Interrupted once somebody asked to stop."""
    if opened.stop():
        raise Interrupted("stopped; nothing is lost, the same command begins again")


def batches(rows: Sequence[Row], pad: int, longest: int, most: int) -> Iterator[tuple[list[int], Batch]]:
    """(indexes of the rows, batch of at most so many) with rows of like length together, in shapes that repeat."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    while order:
        length = min(bucket(len(rows[order[min(most, len(order)) - 1]].ids)), longest)
        count = max(1, min(most, most * CELLS // length))
        chosen, order = order[:count], order[count:]
        batch: Batch = {name: np.zeros((count, length), np.int32) for name in ("tokens", "segments", "positions", "token_types")}
        batch["tokens"][:] = pad
        for place, i in enumerate(chosen):
            size = len(rows[i].ids)
            batch["tokens"][place, :size] = rows[i].ids
            segment = np.searchsorted(rows[i].segments, np.arange(size), side="right")
            batch["segments"][place, :size] = segment
            batch["positions"][place, :size] = np.arange(size) - np.array(rows[i].segments)[segment - 1]
            batch["token_types"][place, :size] = rows[i].types
        yield chosen, batch


def compiled_reader(opened: OpenedModel, name: str, forward: Forward) -> Callable[..., list[tuple[np.ndarray, ...]]]:
    """A function from rows to what `forward` makes of each of them, as a tuple of arrays.

    `more(chosen, shape)` adds to a batch of this shape what else `forward` reads: arrays with a row for each index of `chosen`.
    """
    model, pad, longest = opened.model, opened.tokenizer.pad, opened.data.max_length
    causal = model.heads[name].causal

    def step(batch: Batch) -> Any:
        return forward(model.hidden(batch, causal=causal), batch)

    call = compiled(step)

    def read(rows: Sequence[Row], more: More = nothing_more) -> list[tuple[np.ndarray, ...]]:
        found: list[tuple[np.ndarray, ...]] = [()] * len(rows)
        for chosen, batch in batches(rows, pad, longest, opened.at_once):
            require_going(opened)
            made = call(batch | more(chosen, batch["tokens"].shape))
            arrays = [finite(one) for one in (made if isinstance(made, tuple | list) else (made,))]
            for place, i in enumerate(chosen):
                found[i] = tuple(array[place] for array in arrays)
        return found

    return read
