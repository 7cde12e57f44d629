"""Learning which of two answers is better: losses, gradients and references against torch."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from lmkit.engine.tensorflow import value_and_grad
from lmkit.heads.model import Model
from lmkit.heads.preference import preference_loss
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import Decoder
from lmkit.tasks.build import build_head
from lmkit.tasks.count import count_head
from lmkit.tasks.spec import AnyTask, DirectPreference, Reward

ROWS, LENGTH, VOCAB = 3, 12, 30
SEGMENTS = np.array([[1] * 5 + [2] * 7, [1] * 6 + [2] * 4 + [0] * 2, [1] * 3 + [2] * 3 + [0] * 6], np.int32)
COUNTED = np.array([[0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0], [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]])
KINDS: dict[str, Any] = {
    "sigmoid": {"beta": 0.3},
    "smooth": {"beta": 0.3, "label_smoothing": 0.2},
    "ipo": {"beta": 0.5, "loss": "ipo"},
    "hinge": {"beta": 0.4, "loss": "hinge"},
}


def model(task: AnyTask) -> Model:
    spec = Decoder(num_layers=2, hidden_size=16, num_heads=2, tie_embeddings=False)
    backbone = build_backbone(spec, vocab_size=VOCAB, max_length=LENGTH)
    head = build_head(task, "prefer", backbone=backbone, model_spec=spec)
    built = Model(backbone, {"prefer": head})
    initialize(built, 3)
    for weight in built.weights:
        weight.assign(weight * (1 if "norm" in weight.path else 10))
    assert count_head(task, spec, vocab_size=VOCAB) == {name.split(".")[2]: int(np.prod(w.shape)) for name, w in named(built).items()}
    return built


def named(built: Model) -> dict[str, Any]:
    return {canonical(w): w for w in built.weights if canonical(w).startswith("heads.")}


def batch() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    positions = np.concatenate([np.arange(5), np.arange(7)]), np.concatenate([np.arange(6), np.arange(6)]), np.tile(np.arange(3), 4)
    return {
        "tokens": random.integers(5, VOCAB, (ROWS, LENGTH)).astype(np.int32),
        "segments": SEGMENTS,
        "positions": np.stack(positions).astype(np.int32),
        "token_types": np.zeros((ROWS, LENGTH), np.int32),
        "row_key": np.arange(ROWS, dtype=np.uint32),
        "prefer/labels": random.integers(5, VOCAB, (ROWS, LENGTH)).astype(np.int32),
        "prefer/counted": COUNTED.astype(np.float32),
        "prefer/weights": np.ones(ROWS, np.float32),
        "prefer/reference": random.normal(size=(ROWS, 2)).astype(np.float32),
    }


def of_torch(kind: dict[str, Any], logits: Any, data: dict[str, np.ndarray]) -> Any:
    """Equation 7 of the paper, and the two others, written out for one row after the other."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    losses = []
    for row in range(ROWS):
        ratios = []
        for segment, reference in zip((1, 2), data["prefer/reference"][row], strict=True):
            places = np.flatnonzero((SEGMENTS[row] == segment) & (COUNTED[row] > 0))
            log = sum(functional.log_softmax(logits[row, at], -1)[data["prefer/labels"][row, at]] for at in places)
            ratios.append(log - float(reference))
        h, beta, s = ratios[0] - ratios[1], kind["beta"], kind.get("label_smoothing", 0.0)
        if kind.get("loss") == "ipo":
            losses.append((h - 1 / (2 * beta)) ** 2)
        elif kind.get("loss") == "hinge":
            losses.append(torch.relu(1 - beta * h))
        else:
            losses.append(-(1 - s) * functional.logsigmoid(beta * h) - s * functional.logsigmoid(-beta * h))
    return torch.stack(losses)


@pytest.mark.parametrize("name", KINDS)
def test_loss_and_gradient_are_those_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    kind, data = KINDS[name], batch()
    built = model(DirectPreference(**kind))
    hidden, kernel = np.asarray(built.hidden(data, causal=True)), np.asarray(next(iter(named(built).values())))
    theirs_hidden, theirs_kernel = (torch.tensor(each, requires_grad=True) for each in (hidden, kernel))
    expected = of_torch(kind, theirs_hidden @ theirs_kernel, data)
    expected.sum().backward()
    out = built(data)["prefer"]
    np.testing.assert_allclose(np.asarray(out["loss"]), expected.detach(), rtol=1e-5, atol=1e-6)
    weights = list(named(built).values())
    _, _, (gradient,) = value_and_grad(lambda: (ops.sum(built(data, row_key=data["row_key"])["prefer"]["loss"]), ()), weights)
    np.testing.assert_allclose(np.asarray(gradient), theirs_kernel.grad, rtol=1e-4, atol=1e-5)


def test_a_model_that_is_its_own_reference_prefers_nothing() -> None:
    built, data = model(DirectPreference()), batch()
    data["prefer/reference"] = np.asarray(built(data)["prefer"]["log_probabilities"])
    out = built(data)["prefer"]
    np.testing.assert_allclose(np.asarray(out["loss"]), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(out["margin"]), 0, atol=1e-6)


def test_each_answer_is_read_as_if_it_stood_alone() -> None:
    built, data = model(DirectPreference()), batch()
    together = np.asarray(built(data)["prefer"]["log_probabilities"])
    for segment in (1, 2):
        alone = data | {"segments": np.where(segment == SEGMENTS, SEGMENTS, 0)}
        np.testing.assert_allclose(
            np.asarray(built(alone)["prefer"]["log_probabilities"])[:, segment - 1], together[:, segment - 1], rtol=1e-5
        )


def test_a_reward_is_the_score_that_its_text_has_alone() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    built, data = model(Reward()), batch()
    out = built(data)["prefer"]
    scores = []
    for segment in (1, 2):
        alone = data | {"segments": (segment == SEGMENTS).astype(np.int32)}
        scores.append(np.asarray(built.heads["prefer"].logits(built.hidden(alone), alone["segments"]))[:, 0])
    margin = torch.tensor(scores[0] - scores[1])
    np.testing.assert_allclose(np.asarray(out["margin"]), margin, atol=1e-5)
    np.testing.assert_allclose(np.asarray(out["loss"]), -functional.logsigmoid(margin), rtol=1e-4)
    np.testing.assert_array_equal(np.asarray(out["correct"]), margin > 0)


def test_losses_fall_as_the_better_answer_gets_likelier() -> None:
    ratios = np.linspace(-20, 0.4, 30).astype(np.float32)
    for kind in ("sigmoid", "ipo", "hinge"):
        assert (np.diff(np.asarray(preference_loss(ratios, kind, 1.0))) < 0).all()  # type: ignore[arg-type]
