"""Cutting documents into pieces and filling rows with them, all on arrays of lengths.

`width` is the room of a row, `extra` the special tokens that every piece brings along (0, or 2 for bos and eos).
"""

from bisect import bisect_left, insort
from functools import lru_cache

import numpy as np

from lmkit.counting import mix
from lmkit.data.order import permutation
from lmkit.data.rows import Rows, make_rows


def cut(lengths: np.ndarray, width: int, first: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Consecutive pieces (document, start, length) of at most `width` tokens that cover every document once.

    `first` is the length of each document's first piece (default `width`); documents of no tokens give no piece.
    """
    if first is None:
        first = np.full(len(lengths), width, np.int64)
    counts = np.where(lengths > 0, 1 + -(np.minimum(first - lengths, 0) // width), 0)
    document = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = np.where(number == 0, 0, first[document] + (number - 1) * width)
    end = np.minimum(first[document] + number * width, lengths[document])
    return document, start, end - start


def first_lengths(lengths: np.ndarray, width: int, seed: int, epoch: int) -> np.ndarray:
    """First pieces for one epoch: a document of q * width + r tokens starts with r..width, so the count of pieces never changes."""
    rest = (lengths - 1) % width + 1
    key = mix(seed, epoch, np.arange(len(lengths)))
    return np.where(lengths > width, rest + key % (width - rest + 1), width).astype(np.int64)


def stream(lengths: np.ndarray, width: int, extra: int, seed: int, epoch: int) -> Rows:
    """Documents longer than a row, end to end in an order of this epoch, cut at every full row.

    The first document of the order gives its first tokens to the end of the stream, so that epochs see different cuts;
    the number of rows is the same in every epoch. Each token is in exactly one piece.
    """
    room = width - extra
    order = permutation(seed, epoch, len(lengths)).astype(np.int64)
    turn = 1 + mix(seed, epoch, 1) % room
    document = np.append(order, order[0])
    skipped = np.zeros(len(document), np.int64)
    skipped[0] = turn
    length = np.append(lengths[order], turn)
    length[0] -= turn
    begin = np.cumsum(length + extra) - length - extra
    first, last = begin // room, (begin + length - 1) // room
    item = np.repeat(np.arange(len(document)), last - first + 1)
    row = np.arange(len(item)) - np.repeat(np.cumsum(last - first + 1) - last - 1, last - first + 1)
    start = np.maximum(begin[item], row * room)
    end = np.minimum((begin + length)[item], (row + 1) * room)
    return make_rows(row, document[item], start - begin[item] + skipped[item], end - start, int(row[-1]) + 1)


def pack(lengths: np.ndarray, width: int, extra: int) -> np.ndarray:
    """Best-fit-decreasing: the row of each piece, for pieces of at most width - extra tokens.

    Works on the histogram of lengths, so millions of pieces cost little more than sorting them; which of the pieces of
    equal length goes where is decided by their order, and the number of rows by the lengths alone.
    """
    if not len(lengths):
        return np.zeros(0, np.int64)
    values, counts = np.unique(lengths, return_counts=True)
    slot_length, slot_row = _fill(tuple((int(v) + extra, int(c)) for v, c in zip(values[::-1], counts[::-1], strict=True)), width)
    row = np.empty(len(lengths), np.int64)
    row[np.argsort(-lengths, kind="stable")] = slot_row[np.argsort(-slot_length, kind="stable")]
    return row


@lru_cache(maxsize=8)
def _fill(histogram: tuple[tuple[int, int], ...], width: int) -> tuple[np.ndarray, np.ndarray]:
    """(length, row) of every slot of the best-fit-decreasing rows; `histogram` has (size, count) from the longest down."""
    spaces: list[int] = []
    rows: dict[int, list[tuple[int, tuple[int, ...]]]] = {}

    def put(space: int, count: int, content: tuple[int, ...]) -> None:
        if space not in rows:
            rows[space] = []
            insort(spaces, space)
        rows[space].append((count, content))

    for size, count in histogram:
        left = count
        while left:
            i = bisect_left(spaces, size)
            if i == len(spaces):
                each = width // size
                if left >= each:
                    put(width - each * size, left // each, (size,) * each)
                if left % each:
                    put(width - left % each * size, 1, (size,) * (left % each))
                break
            space = spaces[i]
            have, content = rows[space].pop()
            if not rows[space]:
                del rows[space], spaces[i]
            used = min(have, left)
            left -= used
            if have > used:
                put(space, have - used, content)
            put(space - size, used, (*content, size))
    groups = [(count, content) for entries in rows.values() for count, content in entries]
    pieces = np.repeat([len(content) for _, content in groups], [count for count, _ in groups])
    slots = np.concatenate([np.tile(np.array(content, np.int64), count) for count, content in groups])
    return slots, np.repeat(np.arange(len(pieces)), pieces)


def packed_rows(lengths: np.ndarray, width: int, extra: int, shift: tuple[int, int] | None) -> Rows:
    """Full rows of several pieces: every token of every document once.

    Documents that fit into a row are never cut. Longer ones are: with `shift` = (seed, epoch) end to end at places that change
    from epoch to epoch (the number of rows does not); without it each from its own first token on.
    """
    room = width - extra
    if shift is None:
        document, start, length = cut(lengths, room)
        return _packed(document, start, length, width, extra)
    seed, epoch = shift
    short = np.flatnonzero((lengths > 0) & (lengths <= room))
    long = np.flatnonzero(lengths > room)
    short = short[permutation(seed, epoch, len(short))]
    rows = _packed(short, np.zeros(len(short), np.int64), lengths[short], width, extra)
    if not len(long):
        return rows
    streamed = stream(lengths[long], width, extra, seed, epoch)
    return Rows(
        np.concatenate([rows.offsets[:-1], streamed.offsets + len(rows.document)]),
        np.concatenate([rows.document, long[streamed.document]]),
        np.concatenate([rows.start, streamed.start]),
        np.concatenate([rows.length, streamed.length]),
        np.concatenate([rows.mark, streamed.mark]),
    )


def _packed(document: np.ndarray, start: np.ndarray, length: np.ndarray, width: int, extra: int) -> Rows:
    row = pack(length, width, extra)
    order = np.argsort(row, kind="stable")
    return make_rows(row[order], document[order], start[order], length[order], int(row.max(initial=-1)) + 1)


def single_rows(lengths: np.ndarray, width: int, extra: int, shift: tuple[int, int] | None) -> Rows:
    """One piece a row: every token of every document once, cut anew in each epoch when `shift` = (seed, epoch) is given."""
    room = width - extra
    first = None if shift is None else first_lengths(lengths, room, *shift)
    document, start, length = cut(lengths, room, first)
    return make_rows(np.arange(len(document)), document, start, length, len(document))
