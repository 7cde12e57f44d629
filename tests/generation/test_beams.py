"""Beam search: the best of all texts where all are tried, and the same in any batch, bucket or number of tokens per call."""

from itertools import product

import numpy as np
import pytest
from keras import ops

from lmkit.generation.beams import BeamSearch
from lmkit.generation.settings import Settings

VOCAB, CONTEXT = 6, 12
TABLE = np.random.default_rng(1).normal(0, 1.5, (VOCAB, VOCAB, VOCAB)).astype(np.float32)


def wide(ids_BS):
    """Ids in the shape of keys, [B, 1, S, 1]."""
    return ops.expand_dims(ops.cast(ids_BS, "float32"), (1, 3))


class Pairs:
    """A model whose logits depend on the last two tokens of a row, read back from what it remembers."""

    context, prefix, xla = CONTEXT, (), True

    def read(self, tokens_BP, start_B):
        tokens_BP = ops.where(ops.expand_dims(ops.arange(tokens_BP.shape[1]), 0) < ops.expand_dims(start_B, 1), 0, tokens_BP)
        return self._logits(tokens_BP, tokens_BP.shape[1]), ((wide(tokens_BP),),), ()

    def ready(self, rows):
        return ()

    def step(self, token_B1, cache, facts, ready, slot, start_B):
        seen_B1S1 = ops.slice_update(cache[0][0], (0, 0, slot, 0), wide(token_B1))
        return self._logits(ops.squeeze(seen_B1S1, (1, 3)), slot + 1), ((seen_B1S1,),)

    def _logits(self, seen_BS, end):
        newest_B2 = ops.cast(ops.slice(seen_BS, (0, end - 2), (seen_BS.shape[0], 2)), "int32")
        return ops.take(TABLE.reshape(-1, VOCAB), newest_B2[:, 0] * VOCAB + newest_B2[:, 1], axis=0)


PROMPTS = [[1, 2], [3, 4, 5, 1], [2, 2, 2]]


def found(words, prompts=PROMPTS, max_tokens=5, **options):
    return BeamSearch(Pairs(), words, **options).generate(prompts, max_tokens=max_tokens)


def log_probability(prompt, ids):
    whole, total = [*prompt], 0.0
    for token in ids:
        row = TABLE[whole[-2], whole[-1]].astype(float)
        total += row[token] - np.log(np.exp(row).sum())
        whole.append(token)
    return total


def test_with_beams_for_every_prefix_the_best_text_is_found():
    for prompt, one in zip(PROMPTS, found(Settings(beams=36), max_tokens=3), strict=True):
        texts = list(product(range(VOCAB), repeat=3))
        best = max(texts, key=lambda ids: log_probability(prompt, ids))
        assert tuple(one.ids) == best


@pytest.mark.parametrize("stopping", [False, True, "never"])
def test_scores_are_log_probabilities_by_length_and_fall(stopping):
    words = Settings(beams=4, texts=4, end=(5,), length_penalty=0.7, early_stopping=stopping)
    made = found(words)
    for row, one in enumerate(made):
        ids = one.ids + ([5] if one.reason == "end" else [])
        assert np.isclose(one.score, log_probability(PROMPTS[row // 4], ids) / len(ids) ** 0.7, atol=1e-4)
        assert row % 4 == 0 or one.score <= made[row - 1].score
    assert len({(row // 4, tuple(one.ids), one.reason) for row, one in enumerate(made)}) == len(made)


@pytest.mark.parametrize("stopping", [False, True, "never"])
def test_what_is_found_does_not_depend_on_batch_bucket_or_tokens_per_call(stopping):
    words = Settings(beams=3, texts=2, end=(5,), early_stopping=stopping, no_repeat_ngram=2)
    together = found(words)
    one_by_one = BeamSearch(Pairs(), words, tokens_per_call=2)
    for row, prompt in enumerate(PROMPTS):
        alone = one_by_one.generate([prompt], max_tokens=5)
        assert [(one.ids, one.reason) for one in alone] == [(one.ids, one.reason) for one in together[2 * row : 2 * row + 2]]
    longer = found(words, [[4] * 20, *PROMPTS])
    assert [one.ids for one in longer[2:]] == [one.ids for one in together]


def test_a_text_ends_with_the_token_after_a_full_context():
    made = found(Settings(beams=2), [[1] * (CONTEXT - 2), [1] * CONTEXT, [1] * 30], max_tokens=50)
    assert [len(one.ids) for one in made] == [3, 1, CONTEXT - CONTEXT // 2 + 1]


def test_each_pair_of_buckets_compiles_once():
    search = BeamSearch(Pairs(), Settings(beams=2), tokens_per_call=4)
    for prompt in ([1, 2], [1, 2, 3], [1, 2, 3, 4, 5]):
        search.generate([prompt], max_tokens=6)
    assert search.compilations == 1
    search.generate(PROMPTS[:2], max_tokens=6)
    assert search.compilations == 2


def test_more_texts_than_beams_are_refused():
    with pytest.raises(ValueError, match="3 texts cannot come from 2 beams"):
        BeamSearch(Pairs(), Settings(beams=2, texts=3))
