"""A decoder beside an encoder goes on after its prefix, and what the encoder read stays with every row and beam."""

import numpy as np
import pytest
from keras import ops

from lmkit.generation.build import build_generator
from lmkit.generation.settings import Settings

VOCAB, START = 7, 6
TABLE = np.random.default_rng(2).normal(0, 2, (VOCAB, VOCAB, VOCAB)).astype(np.float32)
PROMPTS = [[1, 2, 3], [4], [5, 1], [2, 4, 4, 1]]


class Reader:
    """Logits depend on the sum of the prompt, a fact, and on the newest token, which is read back from the cache."""

    context, prefix, xla = 12, (START,), True

    def read(self, tokens_BP, start_B):
        real_BP = ops.expand_dims(ops.arange(tokens_BP.shape[1]), 0) >= ops.expand_dims(start_B, 1)
        facts = (ops.sum(ops.where(real_BP, tokens_BP, 0), axis=1, keepdims=True) % VOCAB,)
        cache = ((ops.full((tokens_BP.shape[0], 1, 1, 1), float(START)),),)
        return self._logits(cache[0][0], facts, 0), cache, facts

    def ready(self, rows):
        return ()

    def step(self, token_B1, cache, facts, ready, slot, start_B):
        seen_B1S1 = ops.slice_update(cache[0][0], (0, 0, slot, 0), ops.expand_dims(ops.cast(token_B1, "float32"), (2, 3)))
        return self._logits(seen_B1S1, facts, slot), ((seen_B1S1,),)

    def _logits(self, seen_B1S1, facts, slot):
        newest_B1 = ops.cast(ops.reshape(ops.slice(seen_B1S1, (0, 0, slot, 0), (seen_B1S1.shape[0], 1, 1, 1)), (-1, 1)), "int32")
        return ops.take(TABLE.reshape(-1, VOCAB), ops.squeeze(facts[0] * VOCAB + newest_B1, 1), axis=0)


def greedily(prompt, count):
    made, newest = [], START
    for _ in range(count):
        newest = int(TABLE[sum(prompt) % VOCAB, newest].argmax())
        made.append(newest)
    return made


def test_rows_begin_with_the_prefix_and_end_with_the_token_after_a_full_context():
    made = build_generator(Reader(), Settings(temperature=0)).generate(PROMPTS, max_tokens=50)
    assert [one.ids for one in made] == [greedily(prompt, 12) for prompt in PROMPTS]
    assert {one.reason for one in made} == {"length"}


@pytest.mark.parametrize("words", [Settings(temperature=1.5), Settings(beams=3, texts=2), Settings(beams=3, forced_first=2, end=(1,))])
def test_no_row_depends_on_the_others_or_on_tokens_per_call(words):
    together = build_generator(Reader(), words).generate(PROMPTS, max_tokens=9)
    alone = build_generator(Reader(), words, tokens_per_call=4)
    for row, prompt in enumerate(PROMPTS):
        numbered = {} if words.beams > 1 else {"first_row": row}
        expected = together[row * words.texts : (row + 1) * words.texts]
        assert [one.ids for one in alone.generate([prompt], max_tokens=9, **numbered)] == [one.ids for one in expected]


def test_the_first_token_after_the_prefix_can_be_forced():
    made = build_generator(Reader(), Settings(beams=3, forced_first=2)).generate(PROMPTS, max_tokens=5)
    assert {one.ids[0] for one in made} == {2}
