"""From rows of pieces to arrays of tokens: where special tokens, segments, positions and token types go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from lmkit.data.packing import cut
from lmkit.data.rows import Rows, make_rows
from lmkit.errors import DataError, Problem
from lmkit.tasks.rows import TokenRows
from lmkit.text.template import Special, Template, Truncate, before_cut, longest_first
from lmkit.text.tokenizer import Tokenizer

# causal: text text ...   masked: the tokenizer's row of one text, again and again   records, pairs: its row of one or two, one segment
# ordered: as pairs   tokens: its row of one text, which is cut where it is long
# sides: one row for an encoder and one that a decoder writes
# windows: a row of two, of which the second is a part of a text   choices: its row of two, again and again
# prompts: two texts with a separator   raw: a part of one text, which its task cuts up and frames
# preferences: two texts, as causal ones
# twins: the row of one text for each of two   twice: the same for one text, two times
Layout = (
    Literal["causal", "masked", "pairs", "ordered", "records", "tokens", "sides", "windows", "choices"]
    | Literal["raw", "prompts", "preferences", "twins", "twice"]
)
JOINED = ("pairs", "ordered", "records", "tokens", "windows", "prompts")  # all pieces of a row are one segment
BARE = ("causal", "raw", "preferences")  # no special tokens around texts, each predicted from what stands before
PARTED = ("records", "choices")  # a text may be two pieces, with what is cut between them


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
    return 0 if layout in BARE and layout != "raw" else template.single.extra


def widths(rows: Rows, layout: Layout, template: Template) -> np.ndarray:
    """Cells that each row needs [R], special tokens included; of two sides, the longer."""
    if layout == "sides":
        return np.maximum(rows.length[0::2] + template.single.extra, rows.length[1::2] + template.written.extra)
    texts = np.bincount(_row(rows)[rows.opens], minlength=len(rows)) if layout in PARTED else rows.pieces
    if layout == "choices":
        return rows.tokens() + texts // 2 * template.pair.extra
    if layout in JOINED:
        return rows.tokens() + np.array([0, *(frame.extra for frame in template.frames)])[texts]
    return rows.tokens() + rows.pieces * piece_extra(layout, template)


def cells(rows: Rows, layout: Layout, template: Template) -> np.ndarray:
    """Tokens of each row [R], special ones included, of two sides those of both."""
    if layout == "sides":
        return rows.tokens() + template.single.extra + template.written.extra
    return widths(rows, layout, template)


def lay(
    rows: Rows,
    corpus: Corpus,
    tokenizer: Tokenizer,
    layout: Layout,
    template: Template,
    *,
    batch_size: int,
    width: int,
    row_key: np.ndarray,
) -> TokenRows:
    """Lays rows (at most batch_size, each at most `width` cells) into arrays [batch_size, width]; the rest is padding.

    Raises DataError for a token id outside the vocabulary.
    """
    count, wrapped, row = len(rows), layout not in BARE, _row(rows)
    places = _places(rows, row, layout)
    lead, tail = _gaps(template, places) if wrapped else (np.zeros(len(row), np.int64), np.zeros(len(row), np.int64))
    size = rows.length + lead + tail
    before = np.cumsum(size) - size
    cell = row * width + before - before[rows.offsets[row]] + lead
    position = before - before[places.first] + lead

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
    out.tokens.ravel()[target] = text
    out.segments.ravel()[target] = np.repeat(places.segment, rows.length)
    out.positions.ravel()[target] = np.repeat(position - done, rows.length) + inner
    out.text.ravel()[target] = True
    for name, stores in corpus.columns.items():
        out.columns[name].ravel()[target] = _gather(stores, corpus, rows, source)
    out.first.ravel()[cell[rows.length > 0]] = True
    if wrapped:
        kinds = np.array([(*frame.types, 0)[:2] for frame in template.frames])[places.texts - 1, places.place]
        out.token_types.ravel()[target] = np.repeat(kinds, rows.length)
        _wrap(out, template, places, cell=cell, length=rows.length, position=position)
    if layout == "windows":
        out.place = np.full(shape, -1, np.int32)
        out.place.ravel()[target] = np.repeat(rows.start - done, rows.length) + inner
    if layout in BARE:
        out.following = _following(corpus, rows, source, target, cell, shape, tokenizer.eos)
    return out


class _Places(NamedTuple):
    """Each piece is text number `place` of so many `texts` of its segment, or a part of it, which `begins` or `ends` it.

    `first` is the piece that its segment begins with.
    """

    segment: np.ndarray
    first: np.ndarray
    texts: np.ndarray
    place: np.ndarray
    begins: np.ndarray
    ends: np.ndarray


def _row(rows: Rows) -> np.ndarray:
    """The row of each piece."""
    return np.repeat(np.arange(len(rows)), rows.pieces)


def _places(rows: Rows, row: np.ndarray, layout: Layout) -> _Places:
    begins = rows.opens if layout in PARTED else np.ones(len(row), bool)
    number = np.cumsum(begins)
    number -= number[rows.offsets[row]]
    last = rows.offsets[row + 1] - 1
    if layout in JOINED:
        segment, place, texts = np.ones(len(row), np.int64), number, number[last] + 1
    elif layout == "choices":
        segment, place, texts = number // 2 + 1, number % 2, np.full(len(row), 2)
    else:
        segment, place, texts = number + 1, np.zeros(len(row), np.int64), np.ones(len(row), np.int64)
    opened = np.flatnonzero(begins & (place == 0))
    first = opened[np.searchsorted(opened, np.arange(len(row)), side="right") - 1]
    return _Places(segment, first, texts, place, begins, np.append(begins[1:], True))


def _gaps(template: Template, places: _Places) -> tuple[np.ndarray, np.ndarray]:
    """Special tokens before and behind each piece."""
    before = np.array([len(frame.gaps[0]) for frame in template.frames])
    behind = np.array([[len(gap) for gap in (*frame.gaps[1:], ())[:2]] for frame in template.frames])
    texts = places.texts - 1
    return np.where(places.begins & (places.place == 0), before[texts], 0), np.where(places.ends, behind[texts, places.place], 0)


def _wrap(
    out: TokenRows, template: Template, places: _Places, *, cell: np.ndarray, length: np.ndarray, position: np.ndarray
) -> None:  # fmt: skip
    """Sets the special tokens around the pieces at `cell`."""

    def put(at: np.ndarray, tokens: Sequence[Special], offset: np.ndarray) -> None:
        for i, (index, kind) in enumerate(tokens):
            where = cell[at] + offset + i
            out.tokens.ravel()[where] = index
            out.segments.ravel()[where] = places.segment[at]
            out.positions.ravel()[where] = position[at] + offset + i
            out.token_types.ravel()[where] = kind

    for count, frame in enumerate(template.frames, 1):
        for which in range(count):
            here = (places.texts == count) & (places.place == which)
            if which == 0:
                at = np.flatnonzero(here & places.begins)
                put(at, frame.gaps[0], np.full(len(at), -len(frame.gaps[0])))
            at = np.flatnonzero(here & places.ends)
            put(at, frame.gaps[which + 1], length[at])


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


def record_rows(first: np.ndarray, second: np.ndarray | None, width: int, template: Template, truncate: Truncate) -> Rows:
    """One row a record: span i, and span count + i for its second text, of these lengths; the longer of the two is cut first."""
    count = len(first)
    if second is None:
        lengths, kept = first, np.minimum(first, width - template.single.extra)
    else:
        lengths, kept = np.stack([first, second], 1), np.stack(longest_first(first, second, width - template.pair.extra), 1)
    each = 1 if second is None else 2
    document = np.arange(count).repeat(each).reshape(count, each) + np.arange(each) * count
    record, document, start, length = cut_pieces(
        np.repeat(np.arange(count), each), document.ravel(), lengths.ravel(), kept.ravel(), truncate
    )
    rows = make_rows(record, document, start, length, count)
    return replace(rows, mark=np.arange(count))


def cut_pieces(
    row: np.ndarray, document: np.ndarray, lengths: np.ndarray, kept: np.ndarray, truncate: Truncate
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(row, document, start, length) of the pieces of texts of which so many tokens are `kept`: one, or two around a lost middle."""
    before = np.where(kept < lengths, before_cut(kept, truncate), kept)
    behind = kept - before
    pieces = 1 + ((before > 0) & (behind > 0))
    first = np.cumsum(pieces) - pieces
    text = np.repeat(np.arange(len(row)), pieces)
    tail = (np.arange(len(text)) > first[text]) | (before[text] == 0) & (behind[text] > 0)
    return row[text], document[text], np.where(tail, (lengths - behind)[text], 0), np.where(tail, behind[text], before[text])


def token_rows(lengths: np.ndarray, width: int, template: Template) -> Rows:
    """One piece of a record a row: every token of every record once."""
    document, start, length = cut(lengths, width - template.single.extra)
    return Rows(np.arange(len(document) + 1), document, start, length, document)
