"""From rows of pieces to arrays of tokens: where special tokens, segments, positions and token types go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lmkit.data.rows import Rows
from lmkit.errors import DataError, Problem
from lmkit.tasks.rows import TokenRows
from lmkit.text.tokenizer import Tokenizer

# causal: text text ...   masked: bos text eos bos text eos ...   pairs, records: bos A eos [B eos], one segment
Layout = Literal["causal", "masked", "pairs", "records"]


@dataclass(frozen=True)
class Corpus:
    """Spans of token arrays: span i is stores[store[i]][begin[i]:end[i]]."""

    stores: Sequence[np.ndarray]
    store: np.ndarray
    begin: np.ndarray
    end: np.ndarray


def piece_extra(layout: Layout) -> int:
    """Special tokens that every piece of a row brings along where pieces are segments of their own."""
    return 0 if layout == "causal" else 2


def widths(rows: Rows, layout: Layout) -> np.ndarray:
    """Cells that each row needs [R], special tokens included."""
    if layout in ("pairs", "records"):
        return rows.tokens() + rows.pieces + 1
    return rows.tokens() + rows.pieces * piece_extra(layout)


def lay(rows: Rows, corpus: Corpus, tokenizer: Tokenizer, layout: Layout, *, batch_size: int, width: int, row_key: np.ndarray) -> TokenRows:
    """Lays rows (at most batch_size, each at most `width` cells) into arrays [batch_size, width]; the rest is padding.

    Raises DataError for a token id outside the vocabulary.
    """
    count, wrapped, joined = len(rows), layout != "causal", layout in ("pairs", "records")
    pieces = rows.pieces
    row = np.repeat(np.arange(count), pieces)
    rank = np.arange(len(row)) - rows.offsets[row]
    lead = np.where(rank == 0, 1, 0) if joined else np.full(len(row), int(wrapped))
    size = rows.length + lead + int(wrapped)
    before = np.cumsum(size) - size
    column = before - before[rows.offsets[row]]
    cell = row * width + column + lead

    done = np.cumsum(rows.length) - rows.length
    inner = np.arange(int(rows.length.sum()))
    target = np.repeat(cell - done, rows.length) + inner
    source = np.repeat(corpus.begin[rows.document] + rows.start - done, rows.length) + inner
    text = _gather(corpus, rows, source)
    if len(text) and int(text.max()) >= tokenizer.vocab_size:
        raise DataError(Problem(f"token id {int(text.max())} is not below the vocabulary of {tokenizer.vocab_size}", "data"))

    shape = (batch_size, width)
    out = TokenRows(
        tokens=np.full(shape, tokenizer.pad, np.int32),
        segments=np.zeros(shape, np.int32),
        positions=np.zeros(shape, np.int32),
        token_types=np.zeros(shape, np.int32),
        row_key=row_key,
        real=(np.arange(batch_size) < count).astype(np.float32),
        label=np.full(batch_size, -1, np.int32),
        text=np.zeros(shape, bool),
        first=np.zeros(shape, bool),
    )
    out.label[:count] = rows.label
    segment = np.ones(len(row), np.int64) if joined else rank + 1
    position = lead + (column if joined else 0)
    out.tokens.ravel()[target] = text
    out.segments.ravel()[target] = np.repeat(segment, rows.length)
    out.positions.ravel()[target] = np.repeat(position - done, rows.length) + inner
    out.text.ravel()[target] = True
    out.first.ravel()[cell[rows.length > 0]] = True
    if joined:
        out.token_types.ravel()[target] = np.repeat(rank, rows.length)
    if wrapped:
        _wrap(out, cell, rows.length, lead, segment, position, rank if joined else None, tokenizer)
    if layout == "causal":
        out.following = _following(corpus, rows, source, target, cell, shape, tokenizer.eos)
    return out


def _wrap(
    out: TokenRows,
    cell: np.ndarray,
    length: np.ndarray,
    lead: np.ndarray,
    segment: np.ndarray,
    position: np.ndarray,
    token_type: np.ndarray | None,
    tokenizer: Tokenizer,
) -> None:
    """Sets bos before and eos after the pieces at `cell`."""
    close = cell + length
    opened = lead > 0
    open_ = cell[opened] - 1
    out.tokens.ravel()[open_] = tokenizer.bos
    out.tokens.ravel()[close] = tokenizer.eos
    out.segments.ravel()[open_] = segment[opened]
    out.segments.ravel()[close] = segment
    out.positions.ravel()[close] = position + length
    if token_type is not None:
        out.token_types.ravel()[close] = token_type


def _gather(corpus: Corpus, rows: Rows, source: np.ndarray, ahead: int = 0) -> np.ndarray:
    """The tokens at addresses source + ahead of each piece's store; an address past the store's end gives its last token."""
    if len(corpus.stores) == 1:
        return corpus.stores[0].take(source + ahead if ahead else source, mode="clip")
    store = np.repeat(corpus.store[rows.document], rows.length)
    tokens = np.empty(len(source), np.int64)
    for number in np.unique(store):
        here = store == number
        tokens[here] = corpus.stores[number].take(source[here] + ahead, mode="clip")
    return tokens


def _following(
    corpus: Corpus, rows: Rows, source: np.ndarray, target: np.ndarray, cell: np.ndarray, shape: tuple[int, int], eos: int
) -> np.ndarray:
    following = np.zeros(shape, np.int32)
    following.ravel()[target] = _gather(corpus, rows, source, ahead=1)
    ended = rows.start + rows.length == (corpus.end - corpus.begin)[rows.document]
    following.ravel()[(cell + rows.length - 1)[ended]] = eos
    return following


def lay_texts(
    tokenizer: Tokenizer, texts: Sequence[np.ndarray], pairs: Sequence[np.ndarray] | None = None, *, batch_size: int, width: int
) -> TokenRows:
    """Rows `bos text [eos pair] eos` of encoded texts, cut to `width` as in training: what predict and serving need.

    `row_key` is zeros: nothing here is random.
    """
    both = [*texts, *(pairs or [])]
    ends = np.cumsum([len(ids) for ids in both], dtype=np.int64)
    corpus = Corpus([np.concatenate([*both, np.zeros(1, np.int32)])], np.zeros(len(both), np.int64), ends - [len(i) for i in both], ends)
    rows = record_rows(ends - corpus.begin, len(texts), pairs is not None, width)
    return lay(rows, corpus, tokenizer, "records", batch_size=batch_size, width=width, row_key=np.zeros(batch_size, np.uint32))


def record_rows(lengths: np.ndarray, count: int, paired: bool, width: int) -> Rows:
    """One row a record: span i, and span count + i for its pair; the longer of the two is cut first."""
    budget = width - (3 if paired else 2)
    a = np.minimum(lengths[:count], budget)
    document = np.arange(count)
    if paired:
        b = lengths[count : 2 * count]
        a = np.minimum(lengths[:count], np.maximum(budget - b, (budget + 1) // 2))
        a, document = np.stack([a, np.minimum(b, budget - a)], 1).ravel(), np.stack([document, document + count], 1).ravel()
    each = 2 if paired else 1
    return Rows(np.arange(count + 1) * each, document, np.zeros(len(a), np.int64), a.astype(np.int64), np.full(count, -1, np.int64))
