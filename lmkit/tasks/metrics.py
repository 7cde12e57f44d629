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
    MultipleChoice,
    QuestionAnswering,
    Regression,
    ReplacedToken,
    SentenceEmbedding,
    Seq2seq,
    TokenClassification,
)


@dataclass
class Sums:
    """What is added up for one task: loss and correct predictions over `weight` labels, and how often each label occurs.

    Each int64 [labels]: `counts` of the true ones, `given` of the predicted ones, `hits` of those that are both; of numbers
    (`size` 0) there are none of these.
    """

    size: int
    loss: float = 0.0
    weight: float = 0.0
    correct: float = 0.0
    counts: np.ndarray = field(init=False)
    given: np.ndarray = field(init=False)
    hits: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.counts, self.given, self.hits = (np.zeros(self.size, np.int64) for _ in range(3))

    def add(self, labels: Any, weights: Any, outputs: dict[str, Any]) -> None:
        """One batch: its labels and weights, and a model's {"loss": [B], "weight": [B], "correct": [B]}.

        Labels are numbers in the shape of the weights or, with one dimension more, 1 for each label that is right. Where outputs has
        "predicted" in the shape of the labels, `given` and `hits` grow too.
        """
        labels, weights = np.asarray(labels), np.asarray(weights)
        self.loss += float(np.sum(outputs["loss"], dtype=np.float64))
        self.weight += float(np.sum(outputs["weight"], dtype=np.float64))
        self.correct += float(np.sum(outputs["correct"], dtype=np.float64))
        if not self.size:
            return
        real, predicted = weights > 0, np.asarray(outputs.get("predicted", ()))
        true = labels[real]
        several = labels.ndim > weights.ndim
        self.counts += self._tallied(true, several)
        if predicted.shape == labels.shape:
            given = predicted[real]
            self.given += self._tallied(given, several)
            self.hits += self._tallied(true * given if several else true[true == given], several)

    def _tallied(self, labels: np.ndarray, several: bool) -> np.ndarray:
        return labels.sum(axis=0, dtype=np.int64) if several else np.bincount(labels, minlength=self.size)


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
            found = labelled(sums, task.metrics)
            return {name: value for name, value in found.items() if not (task.multi_label and name == "majority")}
        case QuestionAnswering():
            return {"loss": _mean(sums.loss, sums.weight), "accuracy": _mean(sums.correct, sums.weight)}
        case Regression():
            return {"loss": _mean(sums.loss, sums.weight)}
        case QuestionAnswering() | MultipleChoice() | SentenceEmbedding():
            return {"loss": _mean(sums.loss, sums.weight), "accuracy": _mean(sums.correct, sums.weight)}
        case DirectPreference() | Reward():
            found = {"loss": sums.loss, "accuracy": sums.correct, "margin": sums.margin}
            return {name: _mean(total, sums.weight) for name, total in found.items()}
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
        found["f1"] = macro_f1(sums.counts, sums.given, sums.hits)
    found["majority"] = _mean(float(sums.counts.max(initial=0)), float(sums.counts.sum()))
    return found


def entropy(counts: np.ndarray) -> float:
    """-sum p ln p of the distribution that the counts make; 0 for no counts."""
    p = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(p * np.log(p)).sum()) + 0.0


def macro_f1(true: np.ndarray, given: np.ndarray, hits: np.ndarray) -> float:
    """Unweighted mean of F1 over labels that occur among the true or the given (scikit-learn's `average="macro"`)."""
    both = true + given
    scores = 2 * hits[both > 0] / both[both > 0]
    return float(scores.mean()) if len(scores) else 0.0


def _mean(total: float, weight: float) -> float:
    return total / weight if weight else float("nan")
