"""Span corruption (T5, section 3.1.4): spans of a text are replaced by sentinels, and the decoder writes what stood there."""

from zlib import crc32

import numpy as np

from lmkit.counting import mix, scramble
from lmkit.errors import Problem, SpecError
from lmkit.tasks.rows import TokenRows
from lmkit.tasks.seq2seq import framed, written
from lmkit.text.template import Template
from lmkit.text.tokenizer import Tokenizer

HIDDEN, SEEN = (crc32(f"span_corruption/{use}".encode()) for use in ("hidden", "seen"))


def counts(length: np.ndarray, mask_rate: float, mean_span: float) -> tuple[np.ndarray, np.ndarray]:
    """How many tokens of texts of these lengths are hidden, in how many spans: none of fewer than two, else at least one."""
    hidden = np.clip(np.rint(length * mask_rate).astype(int), 1, np.maximum(length - 1, 1))
    spans = np.clip(np.rint(hidden / mean_span).astype(int), 1, np.maximum(np.minimum(hidden, length - hidden), 1))
    return np.where(length > 1, hidden, 0), np.where(length > 1, spans, 0)


def sentinel_names(longest: int, mask_rate: float, mean_span: float) -> tuple[str, ...]:
    """The sentinels that texts of at most `longest` tokens need, by the names that T5 gave them."""
    return tuple(f"<extra_id_{i}>" for i in range(int(counts(np.array(longest), mask_rate, mean_span)[1])))


def sentinels(tokenizer: Tokenizer, longest: int, *, mask_rate: float, mean_span: float, key: str) -> np.ndarray:
    """Their ids, int32. Raises SpecError, naming the `key` to change, where the tokenizer has too few."""
    names = sentinel_names(longest, mask_rate, mean_span)
    ids = [tokenizer.index(name) for name in names]
    if -1 in ids:
        what = f"texts of {longest} tokens need {names[0]} to {names[-1]}, and the tokenizer has no {names[ids.index(-1)]}"
        raise SpecError(Problem(f"{what}; raise it, lower data.max_length, or train a tokenizer here", key))
    return np.array(ids, np.int32)


def features(
    rows: TokenRows,
    *,
    sentinels: np.ndarray,
    mask_rate: float,
    mean_span: float,
    template: Template,
    start: int,
    pad: int,
) -> dict[str, np.ndarray]:
    """tokens, segments, positions and token_types of the encoder and, as tasks/seq2seq.py has it, the decoder's side.

    Of a row's n text tokens `counts(n)` are hidden, in spans whose lengths are drawn as T5 does, as are those of what stands
    between; each span is one sentinel to the encoder, and the decoder writes every sentinel with the tokens behind it. Each row
    follows from its tokens and row key alone, the two widths from that of the rows.
    """
    length = rows.text.sum(axis=1)
    hidden, spans = counts(length, mask_rate, mean_span)
    most, most_spans = map(int, counts(np.array(rows.tokens.shape[1] - template.single.extra), mask_rate, mean_span))
    number = _spans(rows, length, hidden, spans, most_spans)
    masked, opens = number % 2 == 1, np.diff(number, axis=1, prepend=0) % 2 == 1
    opens &= masked
    sentinel = sentinels[np.minimum(number // 2, len(sentinels) - 1)]

    read = rows.text & (~masked | opens)
    width = rows.tokens.shape[1] - most + most_spans
    tokens, real = framed(np.where(opens, sentinel, rows.tokens), read, template.single, width, pad)
    learned = np.repeat(rows.text & masked, 2, axis=1)
    learned[:, 0::2] &= opens
    both = np.stack([sentinel, rows.tokens], 2).reshape(len(length), -1)
    labels, counted = framed(both, learned, template.written, most + most_spans + template.written.extra, pad)
    return {
        "tokens": tokens,
        "segments": real.astype(np.int32),
        "positions": np.where(real, np.arange(width, dtype=np.int32), 0),
        "token_types": np.zeros_like(tokens),
    } | written(labels, counted, start=start)


def _spans(rows: TokenRows, length: np.ndarray, hidden: np.ndarray, spans: np.ndarray, most: int) -> np.ndarray:
    """int [B, T]: the number of the span that each cell is in, from 0; odd ones are hidden."""
    seen = _parts(length - hidden, spans, most, mix(rows.row_key, SEEN), rows.tokens.shape[1])
    gone = _parts(hidden, spans, most, mix(rows.row_key, HIDDEN), rows.tokens.shape[1])
    ends = np.cumsum(np.stack([seen, gone], 2).reshape(len(length), -1), axis=1)
    starts = np.zeros((len(length), rows.tokens.shape[1] + 1), np.int64)
    np.add.at(starts, (np.arange(len(length))[:, None], np.minimum(ends, rows.tokens.shape[1])), 1)
    return np.cumsum(starts, axis=1)[:, :-1]


def _parts(total: np.ndarray, count: np.ndarray, most: int, key: np.ndarray, width: int) -> np.ndarray:
    """int [B, most]: `total` [B] cut into `count` [B] parts of one or more, all ways being equally likely; then zeros."""
    place = np.arange(width, dtype=np.uint32)
    drawn = scramble(key[:, None] ^ place).astype(np.int64)
    able = place < total[:, None] - 1
    order = np.argsort(np.where(able, drawn, 2**32), axis=1, kind="stable")[:, : most - 1] + 1
    inner = np.arange(most - 1) < count[:, None] - 1
    cuts = np.sort(np.where(inner, order, total[:, None]), axis=1)
    edges = np.concatenate([np.zeros((len(total), 1), np.int64), cuts, total[:, None]], axis=1)
    return np.diff(edges, axis=1)
