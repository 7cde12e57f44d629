"""How the next token is chosen: the most probable one, or a draw after temperature, top-k, top-p (Holtzman et al., 2020) and min-p."""

import numpy as np
from keras import ops

from lmkit.generation.settings import Settings
from lmkit.layers.dropout import mix, scramble

# Scores further below the best are never drawn: the noise of 23-bit uniforms spans less than 20.
FLOOR = -60.0


def gumbel(key_B, index, vocab_size):
    """Standard Gumbel noise [B, V], a pure function of (key, index, token): no other row, shape or call has a part in it.

    `key_B` is uint32, `index` an integer scalar. Each value comes from 23 bits, so it lies in (-2.83, 16.64).
    """
    draw_B1 = ops.expand_dims(mix(key_B, ops.cast(index, "uint32")), 1)
    token_1V = ops.expand_dims(ops.cast(ops.arange(vocab_size, dtype="int32"), "uint32"), 0)
    bits_BV = scramble(ops.bitwise_xor(draw_B1, token_1V))
    uniform_BV = (ops.cast(ops.right_shift(bits_BV, np.uint32(9)), "float32") + 0.5) * 2.0**-23
    return -ops.log(-ops.log(uniform_BV))


def cut(scores_BV, enough):
    """The highest cut [B, 1] in [FLOOR, 0] at which the tokens with score >= cut are still `enough`, to 2^-32 of that range.

    `enough(kept_BV: bool) -> bool [B, 1]`. Bisection needs no sort, which costs more than the model at large vocabularies.
    """

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        fits = enough(scores_BV >= middle)
        return ops.where(fits, middle, low), ops.where(fits, high, middle)

    low = ops.full((ops.shape(scores_BV)[0], 1), FLOOR)
    return ops.fori_loop(0, 32, halve, (low, ops.ones_like(low)))[0]


def truncate(scores_BV, *, top_k=None, top_p=None, min_p=None):
    """Keeps the top k, of them the smallest set of probability `top_p`, of it what is `min_p` times as probable as the best.

    Scores are natural logarithms up to a constant per row; the result is shifted so that the best is 0, what is left out is
    minus 1e9. Ties of the last one kept are kept too.
    """
    scores_BV = ops.maximum(scores_BV - ops.max(scores_BV, axis=-1, keepdims=True), FLOOR)
    if top_k is not None and top_k < scores_BV.shape[-1]:
        at = cut(scores_BV, lambda kept: ops.sum(ops.cast(kept, "int32"), axis=-1, keepdims=True) >= top_k)
        scores_BV = ops.where(scores_BV >= at, scores_BV, -1e9)
    if top_p is not None and top_p < 1:
        mass_BV = ops.softmax(scores_BV, axis=-1)
        at = cut(scores_BV, lambda kept: ops.sum(ops.where(kept, mass_BV, 0.0), axis=-1, keepdims=True) >= top_p)
        scores_BV = ops.where(scores_BV >= at, scores_BV, -1e9)
    if min_p:
        scores_BV = ops.where(scores_BV >= np.log(min_p), scores_BV, -1e9)
    return scores_BV


def sample(scores_BV, key_B, index, words: Settings):
    """The next token of each row, int32 [B]: argmax of the scores plus Gumbel noise draws from their softmax.

    `index` counts the tokens drawn for the row so far, `key_B` (uint32) names the row: the draw depends on nothing else.
    """
    if words.greedy:
        return ops.cast(ops.argmax(scores_BV, axis=-1), "int32")
    scores_BV = ops.cast(scores_BV, "float32") / words.temperature
    scores_BV = truncate(scores_BV, top_k=words.top_k, top_p=words.top_p, min_p=words.min_p)
    return ops.cast(ops.argmax(scores_BV + gumbel(key_B, index, scores_BV.shape[-1]), axis=-1), "int32")
