"""The figures that each kind of answer can be given, by name; a bare f1, precision or recall is the mean over labels."""

from collections.abc import Sequence
from typing import Literal, get_args

ClassMetric = Literal[
    "accuracy",
    "matthews",
    "f1",
    "f1_micro",
    "f1_weighted",
    "f1_binary",
    "precision",
    "precision_micro",
    "precision_weighted",
    "precision_binary",
    "recall",
    "recall_micro",
    "recall_weighted",
    "recall_binary",
]
SetMetric = Literal[
    "accuracy",
    "f1",
    "f1_micro",
    "f1_weighted",
    "f1_samples",
    "precision",
    "precision_micro",
    "precision_weighted",
    "precision_samples",
    "recall",
    "recall_micro",
    "recall_weighted",
    "recall_samples",
]
NumberMetric = Literal["pearson", "spearman", "mse", "mae"]
TagMetric = Literal["accuracy", "f1", "precision", "recall", "f1_by_type", "f1_tags"]  # f1, precision, recall: of entities
AnswerMetric = Literal[
    "exact_match",
    "f1",
    "has_answer_exact_match",
    "has_answer_f1",
    "no_answer_exact_match",
    "best_exact_match",
    "best_exact_match_threshold",
    "best_f1",
    "best_f1_threshold",
]
TextMetric = Literal["bleu", "chrf", "chrf++", "ter", "rouge1", "rouge2", "rougeL", "rougeLsum", "exact_match"]
SimilarityMetric = Literal["pearson", "spearman"]
RetrievalMetric = Literal["accuracy_at_1", "mrr"]
BleuTokenizer = Literal["13a", "zh", "intl", "char", "none"]

CLASSES: tuple[str, ...] = get_args(ClassMetric)
MULTI_LABEL: tuple[str, ...] = get_args(SetMetric)
NUMBERS: tuple[str, ...] = get_args(NumberMetric)
TAGS: tuple[str, ...] = get_args(TagMetric)
ANSWERS: tuple[str, ...] = get_args(AnswerMetric)
TEXTS: tuple[str, ...] = get_args(TextMetric)
SIMILARITY: tuple[str, ...] = get_args(SimilarityMetric)
RETRIEVAL: tuple[str, ...] = get_args(RetrievalMetric)
BLEU_TOKENIZERS: tuple[str, ...] = get_args(BleuTokenizer)

NO_SINGLE_AIM = ("f1_by_type", "best_exact_match_threshold", "best_f1_threshold")  # several figures, or none that is better when higher


def refuse_unknown(names: Sequence[str], known: Sequence[str]) -> None:
    """ValueError if one of the names is not among the known."""
    for name in names:
        if name not in known:
            raise ValueError(f"{name} is not a figure of this kind; there are {', '.join(known)}")
