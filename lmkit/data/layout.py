"""From rows of pieces to arrays of tokens: where special tokens, segments, positions and token types go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lmkit.data.packing import cut
from lmkit.data.rows import Rows
from lmkit.errors import DataError, Problem
from lmkit.tasks.rows import TokenRows
from lmkit.text.template import Special, Template, longest_first
from lmkit.text.tokenizer import Tokenizer

# causal: text text ...   masked: the tokenizer's row of one text, again and again   pairs, records: its row of one or two, one segment
# tokens: its row of one text, which is cut where it is long
Layout = Literal["causal", "masked", "pairs", "records", "tokens"]
JOINED = ("pairs", "records", "tokens")  # all pieces of a row are one segment


@dataclass(frozen=True)
class Corpus:
    """Spans of token arrays: span i is stores[store[i]][begin[i]:end[i]]; `columns` hold more numbers for the tokens of each store."""

    stores: Sequence[np.ndarray]
    store: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    columns: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)


def piece_extra(layout: Layout, template: Template) -> int:
    """Special tokens that every piece of a row brings along where pieces are segments of their own."""
    return 0 if layout == "causal" else template.single.extra


def widths(rows: Rows, layout: Layout, template: Template) -> np.ndarray:
    """Cells that each row needs [R], special tokens included."""
    if layout in JOINED:
        return rows.tokens() + np.array([0, *(frame.extra for frame in template.frames)])[rows.pieces]
    return rows.tokens() + rows.pieces * piece_extra(layout, template)


def lay(rows: Rows, corpus: Corpus, tokenizer: Tokenizer, layout: Layout, *, batch_size: int, width: int, row_key: np.ndarray) -> TokenRows:
    """Lays rows (at most batch_size, each at most `width` cells) into arrays [batch_size, width]; the rest is padding.

    Raises DataError for a token id outside the vocabulary.
    """
    count, wrapped, joined = len(rows), layout != "causal", layout in JOINED
    pieces = rows.pieces
    row = np.repeat(np.arange(count), pieces)
    rank = np.arange(len(row)) - rows.offsets[row]
    texts, place = (pieces[row], rank) if joined else (np.ones(len(row), np.int64), np.zeros(len(row), np.int64))
    lead, tail = _gaps(tokenizer.template, texts, place) if wrapped else (np.zeros(len(row), np.int64), np.zeros(len(row), np.int64))
    size = rows.length + lead + tail
    before = np.cumsum(size) - size
    column = before - before[rows.offsets[row]]
    cell = row * width + column + lead

    done = np.cumsum(rows.length) - rows.length
    inner = np.arange(int(rows.length.sum()))
    target = np.repeat(cell - done, rows.length) + inner
    source = np.repeat(corpus.begin[rows.document] + rows.start - done, rows.length) + inner
    text = _gather(corpus.stores, corpus, rows, source)
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
        mark=np.full(batch_size, -1, np.int64),
        text=np.zeros(shape, bool),
        first=np.zeros(shape, bool),
        columns={name: np.full(shape, -1, np.int32) for name in corpus.columns},
    )
    out.mark[:count] = rows.mark
    segment = np.ones(len(row), np.int64) if joined else rank + 1
    position = lead + (column if joined else 0)
    out.tokens.ravel()[target] = text
    out.segments.ravel()[target] = np.repeat(segment, rows.length)
    out.positions.ravel()[target] = np.repeat(position - done, rows.length) + inner
    out.text.ravel()[target] = True
    for name, stores in corpus.columns.items():
        out.columns[name].ravel()[target] = _gather(stores, corpus, rows, source)
    out.first.ravel()[cell[rows.length > 0]] = True
    if wrapped:
        kinds = np.array([(*frame.types, 0)[:2] for frame in tokenizer.template.frames])[texts - 1, place]
        out.token_types.ravel()[target] = np.repeat(kinds, rows.length)
        _wrap(out, tokenizer.template, texts, place, cell=cell, length=rows.length, segment=segment, position=position)
    if layout == "causal":
        out.following = _following(corpus, rows, source, target, cell, shape, tokenizer.eos)
    return out


def _gaps(template: Template, texts: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Special tokens before and behind each piece, which is number `place` of a row of so many texts."""
    before = np.array([len(frame.gaps[0]) for frame in template.frames])
    behind = np.array([[len(gap) for gap in (*frame.gaps[1:], ())[:2]] for frame in template.frames])
    return np.where(place == 0, before[texts - 1], 0), behind[texts - 1, place]


def _wrap(
    out: TokenRows,
    template: Template,
    texts: np.ndarray,
    place: np.ndarray,
    *,
    cell: np.ndarray,
    length: np.ndarray,
    segment: np.ndarray,
    position: np.ndarray,
) -> None:
    """Sets the special tokens around the pieces at `cell`."""
    for count, frame in enumerate(template.frames, 1):
        for which in range(count):
            here = np.flatnonzero((texts == count) & (place == which))
            before = frame.gaps[0] if which == 0 else ()
            around: list[tuple[Any, Special]] = [(i - len(before), token) for i, token in enumerate(before)]
            around += [(length[here] + i, token) for i, token in enumerate(frame.gaps[which + 1])]
            for offset, (index, kind) in around:
                at = cell[here] + offset
                out.tokens.ravel()[at] = index
                out.segments.ravel()[at] = segment[here]
                out.positions.ravel()[at] = position[here] + offset
                out.token_types.ravel()[at] = kind


def _gather(stores: Sequence[np.ndarray], corpus: Corpus, rows: Rows, source: np.ndarray, ahead: int = 0) -> np.ndarray:
    """What stands at addresses source + ahead of each piece's store; an address past the store's end gives its last entry."""
    if len(stores) == 1:
        return stores[0].take(source + ahead if ahead else source, mode="clip")
    store = np.repeat(corpus.store[rows.document], rows.length)
    found = np.empty(len(source), np.int64)
    for number in np.unique(store):
        here = store == number
        found[here] = stores[number].take(source[here] + ahead, mode="clip")
    return found


def _following(
    corpus: Corpus, rows: Rows, source: np.ndarray, target: np.ndarray, cell: np.ndarray, shape: tuple[int, int], eos: int
) -> np.ndarray:
    following = np.zeros(shape, np.int32)
    following.ravel()[target] = _gather(corpus.stores, corpus, rows, source, ahead=1)
    ended = rows.start + rows.length == (corpus.end - corpus.begin)[rows.document]
    following.ravel()[(cell + rows.length - 1)[ended]] = eos
    return following


def record_rows(first: np.ndarray, second: np.ndarray | None, width: int, template: Template) -> Rows:
    """One row a record: span i, and span count + i for its second text, of these lengths; the longer of the two is cut first."""
    count = len(first)
    document = np.arange(count)
    if second is None:
        length, each = np.minimum(first, width - template.single.extra), 1
    else:
        kept = longest_first(first, second, width - template.pair.extra)
        length, document, each = np.stack(kept, 1).ravel(), np.stack([document, document + count], 1).ravel(), 2
    return Rows(np.arange(count + 1) * each, document, np.zeros(len(length), np.int64), length.astype(np.int64), np.arange(count))


def token_rows(lengths: np.ndarray, width: int, template: Template) -> Rows:
    """One piece of a record a row: every token of every record once."""
    document, start, length = cut(lengths, width - template.single.extra)
    return Rows(np.arange(len(document) + 1), document, start, length, document)
