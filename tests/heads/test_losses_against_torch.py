"""Losses of labelled rows are torch's, to the last digits of float32, weights of classes and smoothing included."""

from typing import Any

import numpy as np
import pytest

from lmkit.heads.cross_entropy import row_losses
from lmkit.heads.label_set import LabelSetHead
from lmkit.heads.sequence_class import SequenceClassHead

torch = pytest.importorskip("torch")

RANDOM = np.random.default_rng(0)
ROWS, LABELS = 6, 4
HIDDEN = RANDOM.normal(size=(ROWS, 1, 8)).astype(np.float32)
SEGMENTS = np.ones((ROWS, 1), np.int32)
KEY = np.arange(ROWS, dtype=np.uint32)


def made(kind: Any, **options: Any) -> Any:
    head = kind(8, LABELS, name="it", **options)
    head.build()
    for weight in head.weights:
        weight.assign(RANDOM.normal(size=weight.shape).astype(np.float32) * 2)
    return head


def of(head: Any, labels: np.ndarray, weights: np.ndarray, row_key: Any = None, **more: np.ndarray) -> tuple[float, Any]:
    """Our mean loss, and the logits for torch."""
    batch = {"segments": SEGMENTS, "tokens": SEGMENTS, "it/labels": labels, "it/weights": weights}
    batch |= {f"it/{name}": value for name, value in more.items()}
    out = head(HIDDEN, batch=batch, row_key=row_key)
    loss = np.asarray(out["loss"]).sum() / np.asarray(out["weight"]).sum()
    return float(loss), torch.tensor(np.asarray(head.logits(HIDDEN, SEGMENTS)))


def test_several_labels_cost_the_mean_of_their_binary_entropies() -> None:
    labels = RANDOM.integers(0, 2, (ROWS, LABELS))
    ours, logits = of(made(LabelSetHead), labels, np.ones(ROWS, np.float32))
    assert ours == pytest.approx(torch.nn.BCEWithLogitsLoss()(logits, torch.tensor(labels).float()).item(), rel=1e-6)


def test_weighted_classes_cost_their_weighted_mean() -> None:
    labels, weights = RANDOM.integers(0, LABELS, ROWS), np.array([0.5, 2, 3, 1], np.float32)
    ours, logits = of(made(SequenceClassHead), labels, weights[labels])
    assert ours == pytest.approx(torch.nn.CrossEntropyLoss(weight=torch.tensor(weights))(logits, torch.tensor(labels)).item(), rel=1e-6)


def test_what_smoothing_shares_is_weighed_by_class() -> None:
    labels, weights = RANDOM.integers(0, LABELS, ROWS), np.array([0.5, 2, 3, 1], np.float32)
    more = {"class_weights": np.tile(weights, (ROWS, 1))}
    for smoothing in (0.1, 0.6):
        ours, logits = of(made(SequenceClassHead, label_smoothing=smoothing), labels, weights[labels], KEY, **more)
        theirs = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights), label_smoothing=smoothing)(logits, torch.tensor(labels))
        assert ours == pytest.approx(theirs.item(), rel=1e-6)


def test_weights_of_several_labels_are_of_those_that_a_row_has() -> None:
    labels, weights = RANDOM.integers(0, 2, (ROWS, LABELS)), np.array([0.5, 2, 30, 1], np.float32)
    ours, logits = of(made(LabelSetHead), labels, np.ones(ROWS, np.float32), class_weights=np.tile(weights, (ROWS, 1)))
    theirs = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights))(logits, torch.tensor(labels).float())
    assert ours == pytest.approx(theirs.item(), rel=1e-6)


def test_smoothing_is_for_training_alone() -> None:
    labels, head = RANDOM.integers(0, LABELS, ROWS), made(SequenceClassHead, label_smoothing=0.2)
    ours, logits = of(head, labels, np.ones(ROWS, np.float32), KEY)
    assert ours == pytest.approx(torch.nn.CrossEntropyLoss(label_smoothing=0.2)(logits, torch.tensor(labels)).item(), rel=1e-6)
    ours, logits = of(head, labels, np.ones(ROWS, np.float32))
    assert ours == pytest.approx(torch.nn.CrossEntropyLoss()(logits, torch.tensor(labels)).item(), rel=1e-6)


def test_smoothed_tokens_cost_what_torch_and_transformers_say() -> None:
    trainer = pytest.importorskip("transformers.trainer_pt_utils")
    logits, labels = RANDOM.normal(size=(2, 5, 7)).astype(np.float32) * 3, RANDOM.integers(0, 7, (2, 5))
    weights = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.float32)
    out = row_losses(logits.reshape(-1, 7), labels, weights, 0.1)
    ours = float(np.sum(out["loss"]) / np.sum(out["weight"]))
    marked = torch.tensor(np.where(weights > 0, labels, -100))
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(torch.tensor(logits).reshape(-1, 7), marked.reshape(-1))
    assert ours == pytest.approx(theirs.item(), rel=1e-6)
    smoother = trainer.LabelSmoother(epsilon=0.1)
    assert ours == pytest.approx(smoother({"logits": torch.tensor(logits)}, marked.clone()).item(), rel=1e-6)


def test_a_label_is_given_from_its_threshold_on() -> None:
    head = made(LabelSetHead, threshold=0.8)
    batch = {"segments": SEGMENTS, "tokens": SEGMENTS, "it/labels": np.ones((ROWS, LABELS), np.int32), "it/weights": np.ones(ROWS)}
    out = {name: np.asarray(value) for name, value in head(HIDDEN, batch=batch).items()}
    assert np.array_equal(out["predicted"] == 1, out["probabilities"] >= 0.8)
    assert np.array_equal(out["correct"] == 1, out["predicted"].all(axis=1))
