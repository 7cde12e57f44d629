"""Mixtures of experts: routing, and what uneven use costs."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from lmkit.attention.spec import Attention
from lmkit.blocks.mixture import MixtureFeedForward, imbalance, route
from lmkit.blocks.spec import Dense, Mixture
from lmkit.layers.activations import activation
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import Decoder

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 5, 8)).astype(np.float32)


def layer(**changes: Any) -> MixtureFeedForward:
    made = MixtureFeedForward(8, 6, **{"num_experts": 4, "experts_per_token": 2, "name": "feed_forward"} | changes)
    made.build()
    initialize(made, 1)
    for weight in made.weights:
        weight.assign(weight * 30)
    return made


@pytest.mark.parametrize("renormalize", [True, False])
def test_a_token_meets_its_best_experts_with_their_probabilities(renormalize: bool) -> None:
    logits = RANDOM.normal(size=(7, 4)).astype(np.float32)
    weights, picked, probabilities = (np.asarray(x) for x in route(logits, 2, renormalize=renormalize))
    for n in range(7):
        best = np.argsort(-logits[n])[:2]
        assert set(np.flatnonzero(picked[n])) == set(best) == set(np.flatnonzero(weights[n]))
        wanted = probabilities[n, best] / (probabilities[n, best].sum() if renormalize else 1)
        np.testing.assert_allclose(weights[n, best], wanted, rtol=1e-6)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("gated", [True, False])
def test_a_mixture_is_the_weighted_sum_of_its_experts(gated: bool) -> None:
    made = layer(gated=gated)
    got, usage = made(X)
    router, up, down = (np.asarray(w) for w in (made.router.kernel_weight, made.up.kernel, made.down.kernel))
    weights, picked, probabilities = (np.asarray(x) for x in route(X.reshape(10, 8) @ router, 2, renormalize=True))
    act = lambda x: np.asarray(activation("silu")(ops.convert_to_tensor(x)))  # noqa: E731
    expected = np.zeros((10, 8), np.float32)
    for n, e in np.argwhere(weights > 0):
        x = X.reshape(10, 8)[n]
        inner = act(x @ np.asarray(made.gate.kernel)[e]) * (x @ up[e]) if gated else act(x @ up[e])
        expected[n] += weights[n, e] * (inner @ down[e])
    np.testing.assert_allclose(np.asarray(got).reshape(10, 8), expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(usage)[:, 0], picked.reshape(2, 5, 4).sum(1), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(usage)[:, 1], probabilities.reshape(2, 5, 4).sum(1), rtol=1e-5)


def test_padding_counts_for_no_expert() -> None:
    real = np.arange(5) < np.array([[5], [3]])
    _, usage = layer()(X, real=real)
    _, alone = layer()(X[1:, :3])
    np.testing.assert_allclose(np.asarray(usage)[1:], np.asarray(alone), rtol=1e-6)


def test_even_use_costs_one_for_each_expert_of_a_token_and_one_expert_for_all_costs_as_many_as_there_are() -> None:
    even = np.full((1, 2, 4), [[5.0], [2.5]], np.float32)  # 10 tokens, two experts each
    one = np.array([[[10, 0, 0, 0], [10, 0, 0, 0]]], np.float32)
    assert float(imbalance(even, np.array([10.0], np.float32), 4)[0]) == pytest.approx(2)
    assert float(imbalance(one, np.array([10.0], np.float32), 4)[0]) == pytest.approx(4)


def balances(num_layers: int, row_key: Any, **keywords: Any) -> dict[str, Any]:
    parts = (Dense(), Mixture(num_experts=4, experts_per_token=2, balance_weight=0.5))
    spec = Decoder(num_layers=num_layers, hidden_size=8, num_heads=2, feed_forward=parts, attention=Attention(window=(3,)))
    backbone, seen = build_backbone(spec, vocab_size=20, max_length=8), {}
    initialize(backbone, 0)
    ids = np.random.default_rng(5).integers(0, 20, (2, 6)).astype(np.int32)
    backbone(ids, row_key=row_key, collect=seen.__setitem__, **keywords)
    return seen


def test_the_balance_of_a_row_is_told_in_training_only_and_depends_on_no_other_row() -> None:
    assert "balance" not in balances(2, None)
    key, segments = np.arange(2, dtype=np.uint32), (np.arange(6) < np.array([[6], [4]])).astype(np.int32)
    found = np.asarray(balances(4, key)["balance"])
    assert found.shape == (2,) and np.all(found >= 0.5 * 2 - 1e-3)
    shorter = np.asarray(balances(4, key, segments=segments)["balance"])
    np.testing.assert_allclose(shorter[0], found[0], rtol=1e-5)
    assert shorter[1] != found[1]


def test_the_balance_is_transformers_loss_over_the_layers() -> None:
    torch = pytest.importorskip("torch")
    mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    logits = RANDOM.normal(size=(3, 7, 4)).astype(np.float32)  # layers, tokens, experts
    wanted = float(mixtral.load_balancing_loss_func(tuple(torch.tensor(x) for x in logits), 4, 2))
    usages = []
    for x in logits:
        _, picked, probabilities = route(x, 2, renormalize=True)
        usages.append(ops.expand_dims(ops.stack([ops.sum(picked, axis=0), ops.sum(probabilities, axis=0)]), 0))
    assert float(imbalance(sum(usages), np.array([21.0], np.float32), 4)[0]) == pytest.approx(wanted, rel=1e-5)
