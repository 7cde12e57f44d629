"""Masked language modelling (BERT, section 3.1): hidden tokens are predicted from both sides."""

from dataclasses import dataclass
from math import ceil
from zlib import crc32

import numpy as np

from lmkit.counting import mix, scramble
from lmkit.tasks.rows import TokenRows
from lmkit.text.tokenizer import Tokenizer

CHOOSE, REPLACE, RANDOM = (crc32(f"masked_lm/{use}".encode()) for use in ("choose", "replace", "random"))
NEVER, LOW = np.uint64(0xFFFFFFFF << 32), np.uint64(0xFFFFFFFF)


@dataclass(frozen=True)
class Vocabulary:
    """What masking must know of a tokenizer."""

    mask: int
    special: np.ndarray
    ordinary: np.ndarray
    word_start: np.ndarray


def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Random replacements come from `ordinary`: ids that stand for text."""
    mask = tokenizer.require("mask", "masked_lm")
    special = np.zeros(tokenizer.vocab_size, bool)
    special[[*tokenizer.specials, tokenizer.pad, tokenizer.mask]] = True
    ordinary = np.flatnonzero(~special & (np.asarray(tokenizer.byte_length) > 0))
    return Vocabulary(mask, special, ordinary.astype(np.int32), np.asarray(tokenizer.word_start, bool))


def budget(mask_rate: float, length: int) -> int:
    """Places for hidden tokens in a row of `length` cells."""
    return ceil(mask_rate * length - 1e-9)


def features(rows: TokenRows, *, vocabulary: Vocabulary, mask_rate: float, whole_word: bool) -> dict[str, np.ndarray]:
    """where, labels, weights [B, M] and the corrupted tokens [B, T]; each row follows from its tokens and row key alone.

    Of a row's n text tokens round(mask_rate * n), at least 1, are chosen: 80 % become the mask token, 10 % a random token, 10 %
    stay. Special tokens are never chosen. Unused places have weight 0. With `whole_word` all pieces of a word are chosen together
    (the count is then met to within a word; a word longer than M counts as separate tokens).
    """
    tokens, length = rows.tokens, rows.tokens.shape[1]
    able = rows.text & ~vocabulary.special[tokens]
    places = budget(mask_rate, length)
    wanted = np.rint(mask_rate * able.sum(axis=1))
    wanted = np.minimum(np.where(able.any(axis=1), np.maximum(wanted, 1), 0), places)[:, None]
    units = _words(rows, vocabulary.word_start, able, places) if whole_word else np.arange(length, dtype=np.uint32)
    order = _draw(units, able, rows.row_key)
    chosen = _whole(order, np.asarray(units), wanted, places) if whole_word else np.arange(places) < wanted
    where = (order[:, :places] & LOW).astype(np.int32) % length
    hidden = np.take_along_axis(tokens, where, axis=1)
    corrupted = tokens.copy()
    np.put_along_axis(corrupted, where, np.where(chosen, _replace(hidden, where, rows.row_key, vocabulary), hidden), axis=1)
    return {
        "tokens": corrupted,
        "where": np.where(chosen, where, 0),
        "labels": np.where(chosen, hidden, 0),
        "weights": chosen.astype(np.float32),
    }


def _draw(units: np.ndarray, able: np.ndarray, row_key: np.ndarray) -> np.ndarray:
    """uint64 [B, T], ascending: (hash of the unit, place) of each able cell, the others last."""
    place = np.arange(able.shape[1], dtype=np.uint64)
    hashed = scramble(mix(row_key, CHOOSE)[:, None] ^ units)
    return np.sort(np.where(able, hashed.astype(np.uint64) << np.uint64(32) | place, NEVER | place), axis=1)


def _words(rows: TokenRows, word_start: np.ndarray, able: np.ndarray, places: int) -> np.ndarray:
    """uint32 [B, T]: the place where the word of each cell begins; a word longer than `places` falls into its tokens."""
    batch, length = able.shape
    place = np.arange(length)
    begins = rows.first | ~able | word_start[rows.tokens]
    begin = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    word = (begin + np.arange(batch)[:, None] * length).ravel()
    long = np.bincount(word, minlength=batch * length)[word].reshape(begin.shape) > places
    return np.where(long, place, begin).astype(np.uint32)


def _whole(order: np.ndarray, units: np.ndarray, wanted: np.ndarray, places: int) -> np.ndarray:
    """bool [B, M]: the first of the ordered cells that make whole words and come nearest to the wanted number, at least one."""
    length = order.shape[1]
    rank = np.arange(length)
    unit = np.where(order < NEVER, np.take_along_axis(units, (order & LOW).astype(np.int64) % length, axis=1), length)
    ends = np.ones(order.shape, bool)
    ends[:, :-1] = unit[:, 1:] != unit[:, :-1]
    stop = np.minimum.accumulate(np.where(ends, rank + 1, length)[:, ::-1], axis=1)[:, ::-1]
    begin = np.zeros(order.shape, np.int64)
    begin[:, 1:] = np.maximum.accumulate(np.where(ends, rank + 1, 0), axis=1)[:, :-1]
    nearer = (begin < wanted) & ((2 * (wanted - begin) > stop - begin) | (begin == 0))
    fits = (stop <= wanted) | ((stop <= places) & nearer)
    return (fits & (unit < length))[:, :places]


def _replace(hidden: np.ndarray, where: np.ndarray, row_key: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """What stands in the chosen places: the mask token, a random ordinary token, or the token itself."""
    kind = scramble(mix(row_key, REPLACE)[:, None] ^ where.astype(np.uint32))
    pick = scramble(mix(row_key, RANDOM)[:, None] ^ where.astype(np.uint32)) % np.uint32(len(vocabulary.ordinary))
    return np.where(kind < 0.8 * 2**32, vocabulary.mask, np.where(kind < 0.9 * 2**32, vocabulary.ordinary[pick], hidden)).astype(np.int32)
