"""What may come next, given what stands before: the processors of transformers' `generate`, in its order, in static shapes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from lmkit.generation.settings import Settings

NEVER = -np.inf


@dataclass(frozen=True)
class Written:
    """Rows on their way: `tokens` int[B, S], of which row b owns the slots from `start` [B] up to `at`, a scalar.

    `drawn`, a scalar, counts the new tokens so far. No row ends before it has `least` new ones, and it gets at most `most`; both
    are [B] or scalar.
    """

    tokens: Any
    start: Any
    at: Any
    drawn: Any
    least: Any
    most: Any

    @property
    def length(self) -> Any:
        """Tokens of each row, int[B]."""
        return self.at - self.start


def constrain(scores_BV: Any, written: Written, words: Settings) -> Any:
    """Scores (logits or log probabilities) after every rule of `words`; what may not come is minus infinity."""
    scores_BV = ops.cast(scores_BV, "float32")
    vocab_size = scores_BV.shape[-1]
    if words.repetition_penalty != 1:
        scores_BV = penalize(scores_BV, written, words.repetition_penalty)
    if words.no_repeat_ngram:
        scores_BV = ops.where(completing_ngram(written, words.no_repeat_ngram, vocab_size), NEVER, scores_BV)
    bad = [list(word) for word in words.bad_words if list(word) not in [[token] for token in words.end]]
    for length in sorted({len(word) for word in bad}):
        group_KL = np.array([word for word in bad if len(word) == length], np.int32)
        scores_BV = ops.where(completing_word(written, group_KL, vocab_size), NEVER, scores_BV)
    if words.end and (words.min_tokens or words.min_length):
        scores_BV = _without(scores_BV, words.end, written.drawn < written.least)
    if words.forced_first is not None:
        scores_BV = _only(scores_BV, (words.forced_first,), ops.equal(written.length, 1))
    if words.forced_last:
        scores_BV = _only(scores_BV, words.forced_last, ops.equal(written.drawn + 1, written.most))
    if words.suppressed:
        scores_BV = _without(scores_BV, words.suppressed, True)
    if words.suppressed_first:
        after_forced = words.forced_first is not None and ops.equal(written.length - written.drawn, 1)
        scores_BV = _without(scores_BV, words.suppressed_first, ops.equal(written.drawn, ops.cast(after_forced, "int32")))
    return ops.log_softmax(scores_BV, axis=-1) if words.renormalize else scores_BV


def least(words: Settings, lengths: Sequence[int]) -> np.ndarray:
    """int32 [B]: the new tokens without which no row may end, for prompts of so many tokens."""
    return np.array([max(words.min_tokens, words.min_length - length) for length in lengths], np.int32)


def among(tokens: Any, some: Sequence[int]) -> Any:
    """bool[...]: which of the tokens int[...] are some of these."""
    return ops.any(ops.equal(ops.expand_dims(tokens, -1), np.array([*some, -1], np.int32)), axis=-1)


def penalize(scores_BV: Any, written: Written, penalty: float) -> Any:
    """Positive scores of tokens that were there are divided by `penalty`, negative ones multiplied (Keskar et al., 2019)."""
    slot_1S = ops.expand_dims(ops.arange(written.tokens.shape[1], dtype="int32"), 0)
    there_BS = ops.logical_and(slot_1S >= ops.expand_dims(written.start, 1), slot_1S < written.at)
    seen_BV = _marked(written.tokens, there_BS, scores_BV.shape[-1])
    return ops.where(seen_BV, ops.where(scores_BV < 0, scores_BV * penalty, scores_BV / penalty), scores_BV)


def completing_ngram(written: Written, size: int, vocab_size: int) -> Any:
    """bool[B, V]: tokens after which the row would hold some `size` tokens in a row twice."""
    batch, slots = written.tokens.shape
    count = slots - size + 1
    if count <= 0:
        return ops.zeros((batch, vocab_size), "bool")
    first_1W = ops.expand_dims(ops.arange(count, dtype="int32"), 0)
    same_BW = ops.logical_and(first_1W >= ops.expand_dims(written.start, 1), first_1W + size - 1 < written.at)
    for place in range(size - 1):
        newest_B1 = _newest(written, size - 2 - place)
        same_BW = ops.logical_and(same_BW, ops.equal(written.tokens[:, place : place + count], newest_B1))
    return _marked(written.tokens[:, size - 1 :], same_BW, vocab_size)


def completing_word(written: Written, words_KL: np.ndarray, vocab_size: int) -> Any:
    """bool[B, V]: the last tokens of those words whose other tokens are the newest of the row."""
    shape, length = (written.tokens.shape[0], len(words_KL)), words_KL.shape[1]
    same_BK = ops.broadcast_to(ops.expand_dims(written.length >= length - 1, 1), shape)
    for place in range(length - 1):
        same_BK = ops.logical_and(same_BK, ops.equal(words_KL[None, :, place], _newest(written, length - 2 - place)))
    return _marked(ops.broadcast_to(words_KL[None, :, -1], shape), same_BK, vocab_size)


def _newest(written: Written, before: int) -> Any:
    """int[B, 1]: the newest token, or the one so many places `before` it."""
    return ops.slice(written.tokens, (0, ops.maximum(written.at - 1 - before, 0)), (written.tokens.shape[0], 1))


def _marked(tokens_BS: Any, where_BS: Any, vocab_size: int) -> Any:
    """bool[B, V]: the tokens that stand at one of the places."""
    batch = tokens_BS.shape[0]
    index_BS = tokens_BS + ops.expand_dims(ops.arange(batch, dtype="int32") * vocab_size, 1)
    marks = ops.reshape(ops.cast(where_BS, "int32"), (-1,))
    return ops.reshape(ops.scatter(ops.reshape(index_BS, (-1, 1)), marks, (batch * vocab_size,)), (batch, vocab_size)) > 0


def _without(scores_BV: Any, tokens: Any, when: Any) -> Any:
    """The tokens are impossible in the rows of `when`, [B] or scalar."""
    among_1V = np.isin(np.arange(scores_BV.shape[-1]), np.asarray(tokens))[None, :]
    return ops.where(ops.logical_and(among_1V, ops.reshape(ops.convert_to_tensor(when), (-1, 1))), NEVER, scores_BV)


def _only(scores_BV: Any, tokens: Any, when: Any) -> Any:
    """Only the tokens are possible, at score 0, in the rows of `when`, [B] or scalar."""
    forced_1V = np.where(np.isin(np.arange(scores_BV.shape[-1]), np.asarray(tokens)), 0.0, NEVER).astype(np.float32)[None, :]
    return ops.where(ops.reshape(ops.convert_to_tensor(when), (-1, 1)), forced_1V, scores_BV)
