"""Cached decoding: equal to the whole forward pass, and to itself in any batch, bucket or number of tokens per call."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lmkit.attention.spec import Attention
from lmkit.generation.build import build_generator
from lmkit.generation.cached import CachedDecoder
from lmkit.generation.layout import bucket
from lmkit.generation.settings import Settings
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
    return backbone, head


def generator_of(parts, words, **options):
    return build_generator(CachedDecoder(*parts, context=CONTEXT), words, **options)


@pytest.fixture(scope="module")
def learned():
    return parts()


@pytest.fixture(scope="module")
def greedy(learned):
    return generator_of(learned, Settings(temperature=0))


@pytest.fixture(scope="module")
def drawing(learned):
    return generator_of(learned, Settings(temperature=1.5, top_k=20, top_p=0.95))


def ids_of(continuations):
    return [c.ids for c in continuations]


@pytest.mark.parametrize("body", BODIES)
def test_a_prompt_that_is_read_both_ways_gives_what_a_prefix_mask_gives(body):
    backbone, head = parts(body)
    cached = CachedDecoder(backbone, head, context=CONTEXT, both_ways=True)
    made = build_generator(cached, Settings(temperature=0), tokens_per_call=4).generate(PROMPTS, max_tokens=4)
    for prompt, continuation in zip(PROMPTS, made, strict=True):
        sequence = np.array([prompt + continuation.ids], "int32")
        hidden = backbone(sequence, causal=True, prefix_length=np.array([len(prompt)], "int32"))
        best = np.asarray(head.logits(hidden, backbone.token_embedding)).argmax(-1)[0]
        assert best[len(prompt) - 1 : -1].tolist() == continuation.ids


@pytest.mark.parametrize("body", BODIES)
def test_the_cache_gives_what_the_whole_forward_pass_gives(body):
    backbone, head = parts(body)
    made = generator_of((backbone, head), Settings(temperature=0), tokens_per_call=4).generate(PROMPTS, max_tokens=4)
    for prompt, continuation in zip(PROMPTS, made, strict=True):
        sequence = np.array([prompt + continuation.ids], "int32")
        best = np.asarray(head.logits(backbone(sequence, causal=True), backbone.token_embedding)).argmax(-1)[0]
        assert continuation.ids == best[len(prompt) - 1 : -1].tolist()
        assert continuation.reason == "length"


@pytest.mark.parametrize("words", [Settings(temperature=0), Settings(beams=2)], ids=["greedy", "beams"])
@pytest.mark.parametrize("body", BODIES)
def test_the_token_after_a_full_context_is_that_of_the_whole_forward_pass(body, words):
    backbone, head = parts(body)
    prompts = np.random.default_rng(3).integers(1, VOCAB, (4, CONTEXT), "int32")
    best = np.asarray(head.logits(backbone(prompts, causal=True), backbone.token_embedding))[:, -1].argmax(-1)
    writer = generator_of((backbone, head), words)
    assert ids_of(writer.generate([*prompts.tolist(), [1, 2]], max_tokens=1))[:-1] == [[token] for token in best]


def test_what_outgrows_its_context_goes_on_from_its_last_half(learned, greedy):
    backbone, head = learned
    made = greedy.generate(PROMPTS, max_tokens=30)[2].ids
    window = list(PROMPTS[2])
    for token in made:
        if len(window) > CONTEXT:
            window = window[-CONTEXT // 2 :]
        best = np.asarray(head.logits(backbone(np.array([window], "int32"), causal=True), backbone.token_embedding))[0, -1].argmax()
        assert token == best
        window.append(token)


def test_ids_do_not_depend_on_batch_bucket_or_tokens_per_call(learned, drawing):
    together = ids_of(drawing.generate(PROMPTS, max_tokens=30, seed=4))
    one_by_one = generator_of(learned, drawing.words, tokens_per_call=4)
    for row, prompt in enumerate(PROMPTS):
        assert ids_of(one_by_one.generate([prompt], max_tokens=30, seed=4, first_row=row)) == [together[row]]


def test_ids_under_rules_do_not_depend_on_batch_bucket_or_tokens_per_call(learned):
    words = Settings(temperature=1.2, min_p=0.05, repetition_penalty=1.5, no_repeat_ngram=2, bad_words=((3, 4),), end=(7,), min_tokens=9)
    together = ids_of(generator_of(learned, words).generate(PROMPTS, max_tokens=20, seed=4))
    one_by_one = generator_of(learned, words, tokens_per_call=4)
    for row, prompt in enumerate(PROMPTS):
        assert ids_of(one_by_one.generate([prompt], max_tokens=20, seed=4, first_row=row)) == [together[row]]


def test_a_listener_changes_no_id_and_costs_no_program(learned, drawing):
    patient = drawing.generate(PROMPTS, max_tokens=30, seed=4)
    before, heard = drawing.compilations, []
    assert drawing.generate(PROMPTS, max_tokens=30, seed=4, live=True, on_token=lambda *it: bool(heard.append(it))) == patient
    assert drawing.compilations == before
    assert [token for row, token in heard if row == 1] == patient[1].ids


def test_a_listener_hears_the_first_id_after_one_step(learned, monkeypatch):
    slow = generator_of(learned, Settings(temperature=0))
    monkeypatch.setattr("lmkit.generation.decode.SOON", 0.0)
    counts, draw = [], slow._draw
    slow._draw = lambda *args: counts.append(int(args[-3])) or draw(*args)
    slow.generate([[1, 2, 3]], max_tokens=5, live=True)
    assert counts == [1] * 5


def test_several_texts_of_a_prompt_are_several_draws(drawing, learned):
    several = generator_of(learned, replace(drawing.words, texts=3)).generate(PROMPTS[:2], max_tokens=8, seed=1)
    repeated = drawing.generate([PROMPTS[0]] * 3 + [PROMPTS[1]] * 3, max_tokens=8, seed=1)
    assert several == repeated


def test_a_seed_repeats_itself_and_another_differs(drawing):
    first = drawing.generate(PROMPTS, max_tokens=12, seed=1)
    assert drawing.generate(PROMPTS, max_tokens=12, seed=1) == first
    assert drawing.generate(PROMPTS, max_tokens=12, seed=2) != first
    same = drawing.generate([PROMPTS[0]] * 3, max_tokens=12, seed=1)
    assert same[0].ids != same[1].ids


def test_a_shorter_request_is_a_prefix_of_a_longer_one(drawing):
    long, short = (drawing.generate(PROMPTS, max_tokens=n) for n in (30, 7))
    assert [ids[:7] for ids in ids_of(long)] == ids_of(short)


def test_end_tokens_end_their_row_only(learned, drawing):
    free = drawing.generate(PROMPTS, max_tokens=20, seed=5)
    ends = (free[0].ids[3], free[1].ids[5])
    ended = generator_of(learned, replace(drawing.words, end=ends)).generate(PROMPTS, max_tokens=20, seed=5)
    for before, after in zip(free, ended, strict=True):
        at = next((i for i, token in enumerate(before.ids) if token in ends), None)
        assert (after.ids, after.reason) == (before.ids[:at], "length" if at is None else "end")


def test_forbidden_tokens_never_come(learned):
    without = generator_of(learned, Settings(temperature=3.0, suppressed=range(20)))
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
    fresh = generator_of(learned, Settings(temperature=0), tokens_per_call=4)
    for prompt in ([1], [1, 2], [1, 2, 3, 4, 5]):
        fresh.generate([prompt], max_tokens=8)
    assert (fresh.model.read.compilations, fresh.compilations) == (1, 1)
    fresh.generate(PROMPTS[:2], max_tokens=8)
    assert (fresh.model.read.compilations, fresh.compilations) == (2, 2)
    fresh.generate([[1]], max_tokens=200)
    assert fresh.compilations <= 3


def test_buckets_grow_by_at_most_a_half():
    sizes = sorted({bucket(n) for n in range(1, 2000)})
    assert sizes[:6] == [16, 24, 32, 48, 64, 96]
    assert sorted({bucket(n, 1) for n in range(1, 9)}) == [1, 2, 3, 4, 6, 8]
    assert all(bucket(n) >= n for n in range(1, 2000)) and max(b / a for a, b in pairwise(sizes)) == 1.5


def test_nothing_is_drawn_once_all_rows_have_ended(learned, greedy):
    free = greedy.generate(PROMPTS[:1], max_tokens=9)[0].ids
    at = free.index(free[4])
    ended = generator_of(learned, Settings(temperature=0, end=(free[at],)))
    calls, draw = [], ended._draw
    ended._draw = lambda *args: calls.append(draw(*args)) or calls[-1]
    made = ended.generate(PROMPTS[:1], max_tokens=9)[0]
    assert (made.ids, made.reason, len(calls)) == (free[:at], "end", 1)
    behind = np.asarray(calls[0][0])[0, bucket(len(PROMPTS[0])) + at + 1 :]
    assert len(behind) and not behind.any() and any(free[at + 1 :])
