"""Parameters and arithmetic predicted from words alone."""

import itertools

import numpy as np
import pytest

from lmkit.attention.spec import Attention
from lmkit.blocks.spec import Dense, Gated, LayerNorm, RmsNorm
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.count import count, flops_per_token, visible_keys
from lmkit.models.spec import Decoder, Encoder
from lmkit.positions.spec import Alibi, Learned, Rotary
from lmkit.tasks.count import count_head
from lmkit.tasks.spec import Classification

BERT_BASE = Encoder(
    num_layers=12, hidden_size=768, num_heads=12, norm=LayerNorm(placement="post", epsilon=1e-12), dropout=0.1, token_types=2
)
GPT2_SMALL = Decoder(num_layers=12, hidden_size=768, num_heads=12, feed_forward=Dense(activation="gelu_tanh"))
GPT_MINI = Decoder(
    num_layers=8,
    hidden_size=512,
    num_heads=8,
    num_kv_heads=2,
    attention=Attention(window=(256, 256, 256, "full")),
    position=(Rotary(),),
    norm=RmsNorm(),
    feed_forward=Gated(intermediate_size=1408),
)
KNOWN = [(BERT_BASE, 30522, 512, 108_891_648), (GPT2_SMALL, 50257, 1024, 124_439_808), (GPT_MINI, 32000, 1024, 38_937_088)]


@pytest.mark.parametrize(("spec", "vocab", "length", "expected"), KNOWN, ids=["bert-base", "gpt2-small", "gpt-mini"])
def test_published_models_have_their_published_size(spec: Encoder | Decoder, vocab: int, length: int, expected: int) -> None:
    assert sum(count(spec, vocab_size=vocab, max_length=length).values()) == expected
    backbone = build_backbone(spec, vocab_size=vocab, max_length=length)
    assert sum(int(np.prod(weight.shape)) for weight in backbone.weights) == expected


def test_bert_with_its_pooler_is_109_482_240() -> None:
    head = count_head(Classification(), BERT_BASE, vocab_size=30522, num_labels=2)
    assert head["pooler"] == 590_592
    assert sum(count(BERT_BASE, vocab_size=30522, max_length=512).values()) + head["pooler"] == 109_482_240


@pytest.mark.parametrize("norm", [LayerNorm(placement="post"), LayerNorm(), RmsNorm()])
@pytest.mark.parametrize("feed_forward", [Dense(), Gated()])
def test_words_predict_every_part_of_what_is_built(norm: LayerNorm | RmsNorm, feed_forward: Dense | Gated) -> None:
    variations = itertools.product([None, 1], [None, 6], [(Learned(),), (Alibi(), Learned(max_length=9))], [0, 2])
    for kv_heads, head_dim, position, token_types in variations:
        spec = Encoder(
            num_layers=2,
            hidden_size=8,
            num_heads=2,
            num_kv_heads=kv_heads,
            head_dim=head_dim,
            position=position,
            norm=norm,
            feed_forward=feed_forward,
            token_types=token_types,
            attention=Attention(bias=token_types == 0),
        )
        parts = count(spec, vocab_size=11, max_length=5)
        built = dict.fromkeys(parts, 0)
        for weight in build_backbone(spec, vocab_size=11, max_length=5).weights:
            name = canonical(weight).removeprefix(f"{spec.kind}.")
            part = next(part for part in parts if name.startswith(part + "."))
            built[part] += int(np.prod(weight.shape))
        assert built == parts


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [None, 1, 3, 50])
def test_visible_keys_are_counted_over_the_row(window: int | None, causal: bool) -> None:
    q, k = np.mgrid[:10, :10]
    seen = (k <= q) if causal else np.full((10, 10), True)
    if window is not None:
        seen &= (q - k < window) if causal else (abs(q - k) <= window)
    assert visible_keys(10, window, causal) == pytest.approx(seen.sum() / 10)


def test_arithmetic_is_two_for_each_kernel_entry_and_four_for_each_visible_pair() -> None:
    spec = Decoder(num_layers=6, hidden_size=384, num_heads=6)
    flops = flops_per_token(spec, length=256)
    kernels = 6 * (4 * 384**2 + 2 * 384 * 1536)
    assert flops["forward"] == pytest.approx(2 * kernels + 6 * 4 * 384 * 257 / 2)
    assert flops["training"] == 3 * flops["forward"]
