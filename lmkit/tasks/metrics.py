"""From sums over evaluation batches to the figures that are reported; all entropies in nats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import exp, inf, isnan, log
from typing import Any, assert_never

import numpy as np

from lmkit.tasks.scores import Pair, scores_of
from lmkit.tasks.spec import (
    AnyTask,
    CausalLm,
    Classification,
    DirectPreference,
    MaskedLm,
    MultipleChoice,
    PrefixLm,
    QuestionAnswering,
    Regression,
    ReplacedToken,
    Reward,
    SentenceEmbedding,
    Seq2seq,
    SpanCorruption,
    TokenClassification,
    TwoSegments,
)

# Figures that some heads give for each row beside loss and accuracy.
OTHERS = ("margin", "generator_loss", "generator_accuracy", "discriminator_loss", "replaced")


@dataclass
class Sums:
    """What is added up for one task: loss and correct predictions over `weight` labels, and how often each label occurs.

    `counts` int64 [labels] are of the true ones; of numbers (`size` 0) there are none. `margin` is by how much the better of two
    answers is preferred. Where they are `kept`, `rows` are the labels and the predictions of each row, without those of no weight.
    """

    size: int
    kept: bool = False
    loss: float = 0.0
    weight: float = 0.0
    correct: float = 0.0
    others: dict[str, float] = field(default_factory=dict)
    counts: np.ndarray = field(init=False)
    rows: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.size, np.int64)

    def add(self, labels: Any, weights: Any, outputs: dict[str, Any]) -> None:
        """One batch: its labels and weights, and a model's {"loss": [B], "weight": [B], "correct": [B]}.

        Labels are numbers in the shape of the weights or, with one dimension more, 1 for each label that is right. Where rows are
        kept, outputs has "predicted" in the shape of the labels.
        """
        labels, weights = np.asarray(labels), np.asarray(weights)
        self.loss += float(np.sum(outputs["loss"], dtype=np.float64))
        self.weight += float(np.sum(outputs["weight"], dtype=np.float64))
        self.correct += float(np.sum(outputs["correct"], dtype=np.float64))
        for name in (name for name in OTHERS if name in outputs):
            self.others[name] = self.others.get(name, 0.0) + float(np.sum(outputs[name], dtype=np.float64))
        real = weights > 0
        if self.size:
            true, several = labels[real], labels.ndim > weights.ndim
            self.counts += true.sum(axis=0, dtype=np.int64) if several else np.bincount(true, minlength=self.size)
        if self.kept:
            predicted = np.asarray(outputs["predicted"])
            if real.ndim > 1:
                self.rows += [(labels[i][real[i]], predicted[i][real[i]]) for i in np.flatnonzero(real.any(axis=1))]
            else:
                self.rows += zip(labels[real], predicted[real], strict=True)


def metrics(task: AnyTask, sums: Sums, labels: Sequence[str] = (), *, byte_length: np.ndarray | None = None) -> dict[str, float]:
    """All figures of one task; `byte_length` [V] (UTF-8 bytes of each token) adds bits_per_byte for causal_lm.

    Where rows were kept, those that the task's metrics ask for are among them, unless they are nan.
    """
    found = of_sums(task, sums, byte_length)
    if sums.kept:
        scores = scores_of(task, pairs_of(task, sums.rows, labels), labels)
        found |= {name: figure.value for name, figure in scores.items() if not isnan(figure.value)}
    return found


def pairs_of(task: AnyTask, rows: Sequence[tuple[np.ndarray, np.ndarray]], labels: Sequence[str]) -> list[Pair]:
    """What `scores_of` reads, from labels and predictions as ids."""

    def named(ids: np.ndarray) -> list[str]:
        return [labels[i] for i in ids.reshape(-1)]

    read: Callable[[np.ndarray], Any]
    match task:
        case Classification(multi_label=True):
            read = lambda given: named(np.flatnonzero(given))  # noqa: E731
        case TokenClassification():
            read = named
        case Regression():
            read = float
        case MultipleChoice():
            read = lambda given: str(int(given))  # noqa: E731
        case _:
            read = lambda given: labels[int(given)]  # noqa: E731
    return [(read(true), read(given)) for true, given in rows]


def of_sums(task: AnyTask, sums: Sums, byte_length: np.ndarray | None) -> dict[str, float]:
    """The figures that need nothing but sums."""
    match task:
        case CausalLm():
            return language_model(sums, byte_length)
        case MaskedLm() | Seq2seq() | SpanCorruption() | PrefixLm():
            return language_model(sums, None)
        case TwoSegments() | TokenClassification():
            return labelled(sums)
        case Classification():
            return {name: value for name, value in labelled(sums).items() if not (task.multi_label and name == "majority")}
        case Regression() | SentenceEmbedding(loss="cosine" | "simcse"):
            return {"loss": _mean(sums.loss, sums.weight)}
        case QuestionAnswering() | MultipleChoice() | SentenceEmbedding():
            return {"loss": _mean(sums.loss, sums.weight), "accuracy": _mean(sums.correct, sums.weight)}
        case DirectPreference() | Reward() | ReplacedToken():
            return _means(sums)
        case _:
            assert_never(task)


def _means(sums: Sums) -> dict[str, float]:
    """loss, accuracy, and whatever else the head says, each a mean over the weight."""
    return {name: _mean(total, sums.weight) for name, total in {"loss": sums.loss, "accuracy": sums.correct, **sums.others}.items()}


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


def labelled(sums: Sums) -> dict[str, float]:
    """loss = nats per label; accuracy = share of labels that are right; majority = share of the commonest label, which is what
    guessing it would score.
    """
    majority = _mean(float(sums.counts.max(initial=0)), float(sums.counts.sum()))
    return {"loss": _mean(sums.loss, sums.weight), "accuracy": _mean(sums.correct, sums.weight), "majority": majority}


def entropy(counts: np.ndarray) -> float:
    """-sum p ln p of the distribution that the counts make; 0 for no counts."""
    p = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(p * np.log(p)).sum()) + 0.0


def _mean(total: float, weight: float) -> float:
    return total / weight if weight else float("nan")
