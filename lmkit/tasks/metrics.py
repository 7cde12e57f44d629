"""From sums over evaluation batches to the figures that are reported; all entropies in nats."""

from dataclasses import dataclass, field
from math import exp, inf, log
from typing import Any, assert_never

import numpy as np

from lmkit.tasks.spec import (
    AnyTask,
    CausalLm,
    Classification,
    MaskedLm,
    NextSentence,
    QuestionAnswering,
    Regression,
    ReplacedToken,
    SentenceEmbedding,
    Seq2seq,
    TokenClassification,
)

FEW = 4096  # labels that a confusion matrix is kept for


@dataclass
class Sums:
    """What is added up for one task: loss and correct predictions over `weight` labels, and how often each label occurs.

    `counts` int64 [labels], `confusion` int64 [labels, labels] (true, predicted), the latter for tasks that choose among a few
    labels; of numbers (`size` 0) there are none of these.
    """

    size: int
    loss: float = 0.0
    weight: float = 0.0
    correct: float = 0.0
    counts: np.ndarray = field(init=False)
    confusion: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.size, np.int64)

    def add(self, labels: Any, weights: Any, outputs: dict[str, Any]) -> None:
        """One batch: its labels and weights (any equal shapes), and a model's {"loss": [B], "weight": [B], "correct": [B]}.

        Where outputs has "predicted" in the shape of the labels, the confusion matrix grows too.
        """
        labels, weights = np.asarray(labels), np.asarray(weights)
        self.loss += float(np.sum(outputs["loss"], dtype=np.float64))
        self.weight += float(np.sum(outputs["weight"], dtype=np.float64))
        self.correct += float(np.sum(outputs["correct"], dtype=np.float64))
        if not self.size:
            return
        real = weights > 0
        self.counts += np.bincount(labels[real], minlength=self.size)
        predicted = np.asarray(outputs.get("predicted", ()))
        if predicted.shape == labels.shape and self.size <= FEW:
            pairs = labels[real] * self.size + predicted[real]
            grown = np.bincount(pairs, minlength=self.size**2).reshape(self.size, self.size)
            self.confusion = grown if self.confusion is None else self.confusion + grown


def metrics(task: AnyTask, sums: Sums, *, byte_length: np.ndarray | None = None) -> dict[str, float]:
    """All figures of one task; `byte_length` [V] (UTF-8 bytes of each token) adds bits_per_byte for causal_lm."""
    match task:
        case CausalLm():
            return language_model(sums, byte_length)
        case MaskedLm() | Seq2seq():
            return language_model(sums, None)
        case NextSentence() | TokenClassification() | ReplacedToken():
            return labelled(sums, ("accuracy",))
        case Classification():
            return labelled(sums, task.metrics)
        case QuestionAnswering():
            return {"loss": _mean(sums.loss, sums.weight), "accuracy": _mean(sums.correct, sums.weight)}
        case Regression():
            return {"loss": _mean(sums.loss, sums.weight)}
        case SentenceEmbedding():
            return {}
        case _:
            assert_never(task)


def language_model(sums: Sums, byte_length: np.ndarray | None) -> dict[str, float]:
    """loss = nats per label; perplexity = e^loss; accuracy = share of labels that had the highest probability;
    unigram_entropy = entropy of the very labels evaluated (what the best predictor without context would reach);
    bits_per_byte = total nats / ln 2 / UTF-8 bytes of the labels (special tokens cost nats and stand for no bytes).
    """
    loss = _mean(sums.loss, sums.weight)
    found = {
        "loss": loss,
        "perplexity": exp(loss) if loss < 700 else inf,
        "accuracy": _mean(sums.correct, sums.weight),
        "unigram_entropy": entropy(sums.counts),
    }
    if byte_length is not None:
        found["bits_per_byte"] = _mean(sums.loss / log(2), float(sums.counts @ byte_length))
    return found


def labelled(sums: Sums, names: tuple[str, ...]) -> dict[str, float]:
    """loss = nats per row; accuracy = share of rows labelled right; f1 = mean over the labels that occur, true or predicted, of
    2 TP / (2 TP + FP + FN); majority = share of the commonest label, which is what guessing it would score.
    """
    found = {"loss": _mean(sums.loss, sums.weight), "accuracy": _mean(sums.correct, sums.weight)}
    if "f1" in names:
        assert sums.confusion is not None, "f1 needs the predicted labels"
        found["f1"] = macro_f1(sums.confusion)
    found["majority"] = _mean(float(sums.counts.max(initial=0)), float(sums.counts.sum()))
    return found


def entropy(counts: np.ndarray) -> float:
    """-sum p ln p of the distribution that the counts make; 0 for no counts."""
    p = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(p * np.log(p)).sum()) + 0.0


def macro_f1(confusion: np.ndarray) -> float:
    """Unweighted mean of F1 over labels that occur among the true or the predicted (scikit-learn's `average="macro"`)."""
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    scores = 2 * np.diag(confusion)[both > 0] / both[both > 0]
    return float(scores.mean()) if len(scores) else 0.0


def _mean(total: float, weight: float) -> float:
    return total / weight if weight else float("nan")
