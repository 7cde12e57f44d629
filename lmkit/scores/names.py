"""The figures that each kind of answer can be given, by name; a bare f1, precision or recall is the mean over labels."""

from collections.abc import Sequence

CLASSES = (
    *("accuracy", "matthews"),
    *("f1", "f1_micro", "f1_weighted", "f1_binary"),
    *("precision", "precision_micro", "precision_weighted", "precision_binary"),
    *("recall", "recall_micro", "recall_weighted", "recall_binary"),
)
MULTI_LABEL = (
    *("accuracy", "f1", "f1_micro", "f1_weighted", "f1_samples"),
    *("precision", "precision_micro", "precision_weighted", "precision_samples"),
    *("recall", "recall_micro", "recall_weighted", "recall_samples"),
)
NUMBERS = ("pearson", "spearman", "mse", "mae")
TAGS = ("accuracy", "f1", "precision", "recall", "f1_by_type", "f1_tags")  # f1, precision, recall: of entities
ANSWERS = (
    *("exact_match", "f1", "has_answer_exact_match", "has_answer_f1", "no_answer_exact_match"),
    *("best_exact_match", "best_exact_match_threshold", "best_f1", "best_f1_threshold"),
)
TEXTS = ("bleu", "chrf", "chrf++", "ter", "rouge1", "rouge2", "rougeL", "rougeLsum", "exact_match")
SIMILARITY = ("pearson", "spearman")
RETRIEVAL = ("accuracy_at_1", "mrr")

BLEU_TOKENIZERS = ("13a", "zh", "intl", "char", "none")


def refuse_unknown(names: Sequence[str], known: Sequence[str]) -> None:
    """ValueError if one of the names is not among the known."""
    for name in names:
        if name not in known:
            raise ValueError(f"{name} is not a figure of this kind; there are {', '.join(known)}")
