"""Cached decoding: equal to the whole forward pass, and to itself in any batch, bucket or number of tokens per call."""

from itertools import pairwise

import numpy as np
import pytest

from lmkit.attention.spec import Attention
from lmkit.generation.decode import Generator, bucket
from lmkit.generation.sampling import Sampling
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import Decoder
from lmkit.positions.spec import Alibi, Rotary
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import CausalLm

VOCAB, CONTEXT = 40, 16  # with so short a context few shapes are compiled
PROMPTS = [[5, 6, 7], [9, 8, 30, 31, 2, 17, 4], list(range(3, 15))]
BODIES = {
    "learned": {"num_layers": 1},
    "grouped rotary with a window pattern": {
        "num_layers": 2,
        "position": (Rotary(),),
        "num_kv_heads": 2,
        "attention": Attention(window=(4, "full")),
    },
    "alibi": {"num_layers": 1, "position": (Alibi(),)},
}


def parts(body="learned"):
    spec = Decoder(hidden_size=32, num_heads=4, **BODIES[body])
    backbone = build_backbone(spec, vocab_size=VOCAB, max_length=CONTEXT)
    head = build_head(CausalLm(), "lm", backbone=backbone, model_spec=spec)
    initialize(backbone, 1)
    for variable in backbone.weights:  # larger than a fresh model's, so that greedy choices are far from ties
        if variable.described.start not in ("zeros", "ones"):
            variable.assign(variable * 10)
    return backbone, lambda hidden: head.logits(hidden, backbone.token_embedding)


def generator_of(parts, sampling, **options):
    return Generator(*parts, context=CONTEXT, vocab_size=VOCAB, sampling=sampling, **options)


@pytest.fixture(scope="module")
def learned():
    return parts()


@pytest.fixture(scope="module")
def greedy(learned):
    return generator_of(learned, Sampling(temperature=0))


@pytest.fixture(scope="module")
def drawing(learned):
    return generator_of(learned, Sampling(temperature=1.5, top_k=20, top_p=0.95))


def ids_of(continuations):
    return [c.ids for c in continuations]


@pytest.mark.parametrize("body", BODIES)
def test_the_cache_gives_what_the_whole_forward_pass_gives(body):
    backbone, logits = parts(body)
    made = generator_of((backbone, logits), Sampling(temperature=0), tokens_per_call=4).generate(PROMPTS, max_tokens=4)
    for prompt, continuation in zip(PROMPTS, made, strict=True):
        sequence = np.array([prompt + continuation.ids], "int32")
        best = np.asarray(logits(backbone(sequence, causal=True))).argmax(-1)[0]
        assert continuation.ids == best[len(prompt) - 1 : -1].tolist()
        assert continuation.reason == "length"


def test_a_full_context_goes_on_from_its_last_half(learned, greedy):
    backbone, logits = learned
    made = greedy.generate(PROMPTS, max_tokens=30)[2].ids
    window = list(PROMPTS[2])
    for token in made:
        if len(window) == CONTEXT:
            window = window[-CONTEXT // 2 :]
        best = np.asarray(logits(backbone(np.array([window], "int32"), causal=True)))[0, -1].argmax()
        assert token == best
        window.append(token)


def test_ids_do_not_depend_on_batch_bucket_or_tokens_per_call(learned, drawing):
    together = ids_of(drawing.generate(PROMPTS, max_tokens=30, seed=4))
    one_by_one = generator_of(learned, drawing.sampling, tokens_per_call=4)
    for row, prompt in enumerate(PROMPTS):
        assert ids_of(one_by_one.generate([prompt], max_tokens=30, seed=4, first_row=row)) == [together[row]]


def test_a_seed_repeats_itself_and_another_differs(drawing):
    first = drawing.generate(PROMPTS, max_tokens=12, seed=1)
    assert drawing.generate(PROMPTS, max_tokens=12, seed=1) == first
    assert drawing.generate(PROMPTS, max_tokens=12, seed=2) != first
    same = drawing.generate([PROMPTS[0]] * 3, max_tokens=12, seed=1)
    assert same[0].ids != same[1].ids


def test_a_shorter_request_is_a_prefix_of_a_longer_one(drawing):
    long, short = (drawing.generate(PROMPTS, max_tokens=n) for n in (30, 7))
    assert [ids[:7] for ids in ids_of(long)] == ids_of(short)


def test_the_end_token_ends_its_row_only(drawing):
    free = drawing.generate(PROMPTS, max_tokens=20, seed=5)
    end = free[0].ids[3]
    drawing.end = end
    ended = drawing.generate(PROMPTS, max_tokens=20, seed=5)
    drawing.end = None
    for before, after in zip(free, ended, strict=True):
        expected = before.ids[: before.ids.index(end)] if end in before.ids else before.ids
        assert (after.ids, after.reason) == (expected, "end" if end in before.ids else "length")


def test_forbidden_tokens_never_come(learned):
    without = generator_of(learned, Sampling(temperature=3.0), forbidden=range(20))
    assert min(without.generate([[1]], max_tokens=20)[0].ids) >= 20


def test_the_caller_hears_every_id_and_can_stop_a_row(greedy):
    heard = {0: [], 1: [], 2: []}

    def hear(row, token):
        heard[row].append(token)
        return row == 0 and len(heard[0]) == 3

    made = greedy.generate(PROMPTS, max_tokens=10, on_token=hear)
    assert ids_of(made) == list(heard.values())
    assert (len(heard[0]), made[0].reason, len(heard[1])) == (3, "stop", 10)


def test_each_pair_of_buckets_compiles_once(learned):
    fresh = generator_of(learned, Sampling(temperature=0), tokens_per_call=4)
    for prompt in ([1], [1, 2], [1, 2, 3, 4, 5]):
        fresh.generate([prompt], max_tokens=8)
    assert fresh.compilations == 2
    fresh.generate(PROMPTS[:2], max_tokens=8)
    assert fresh.compilations == 4
    fresh.generate([[1]], max_tokens=200)
    assert fresh.compilations <= 6


def test_buckets_grow_by_at_most_a_half():
    sizes = sorted({bucket(n) for n in range(1, 2000)})
    assert sizes[:6] == [16, 24, 32, 48, 64, 96]
    assert sorted({bucket(n, 1) for n in range(1, 9)}) == [1, 2, 3, 4, 6, 8]
    assert all(bucket(n) >= n for n in range(1, 2000)) and max(b / a for a, b in pairwise(sizes)) == 1.5
