"""Every figure that training reports: one table of names, units and meanings for TensorBoard, metrics.jsonl, progress and report."""

from collections.abc import Mapping
from dataclasses import dataclass

TRAIN, VALIDATION = "train", "validation"


@dataclass(frozen=True)
class Tag:
    """A figure. `{task}` in front of a name stands for the task's own name in the spec."""

    unit: str
    description: str
    higher_is_better: bool = False
    timed: bool = False  # depends on the clock: two equal runs differ in it


AVERAGES = {
    "micro": "over all labels together",
    "weighted": "of each label, averaged by how often it is right",
    "binary": "of the second of two labels",
    "samples": "of each text's set of labels, averaged over texts",
}

TAGS: Mapping[str, Tag] = {
    "loss": Tag("nat", "Weighted sum of the tasks' losses, each averaged over its targets."),
    "balance": Tag("nat", "What uneven use of experts adds to the loss that is minimized."),
    "learning_rate": Tag("", "Learning rate of the step, before layer decay."),
    "gradient_norm": Tag("", "Norm of the whole gradient, summed over replicas, before clipping."),
    "tokens": Tag("tokens", "Tokens seen so far, padding not counted."),
    "skipped_steps": Tag("steps", "Steps so far from which nothing was learned, because they went wrong."),
    "loss_scale": Tag("", "What the loss of a step in float16 is multiplied by: halved by an overflow, doubled after 2,000 steps without."),
    "epoch": Tag("epochs", "Passes over the training data so far."),
    "tokens_per_second": Tag("tokens/s", "Training speed since the point before, padding not counted.", higher_is_better=True, timed=True),
    "peak_share": Tag("", "Floating-point operations of the model as a share of what a matrix product reaches here.", True, True),
    "seconds": Tag("s", "Time that the evaluation took.", timed=True),
    "{task}/loss": Tag("nat", "Cross-entropy of this task, averaged over its targets."),
    "{task}/perplexity": Tag("", "exp(loss): the model is as unsure as if it chose between so many tokens."),
    "{task}/bits_per_byte": Tag("bit/byte", "Cross-entropy per UTF-8 byte of text: comparable between tokenizers."),
    "{task}/accuracy": Tag("", "Share of the targets that get the highest score.", True),
    "{task}/f1": Tag("", "Harmonic mean of precision and recall: mean over labels, or of entities, or of words of answers.", True),
    "{task}/precision": Tag("", "Share of the predicted that are right: mean over labels, or of entities.", True),
    "{task}/recall": Tag("", "Share of the sought that are found: mean over labels, or of entities.", True),
    **{
        f"{{task}}/{measure}_{average}": Tag("", f"{measure.capitalize()} {meaning}.", True)
        for measure in ("f1", "precision", "recall")
        for average, meaning in AVERAGES.items()
    },
    "{task}/f1_tags": Tag("", "F1 of tags of words: mean over the tags that occur.", True),
    "{task}/f1_by_type": Tag("", "F1 of entities of one type.", True),
    "{task}/pearson": Tag("", "Pearson correlation of numbers and answers: 1 is on one line.", True),
    "{task}/spearman": Tag("", "Spearman correlation of numbers and answers: 1 is in the same order.", True),
    "{task}/mse": Tag("", "Mean square of what answers are off by."),
    "{task}/mae": Tag("", "Mean of what answers are off by."),
    "{task}/has_answer_exact_match": Tag("", "exact_match of questions that have an answer.", True),
    "{task}/has_answer_f1": Tag("", "f1 of questions that have an answer.", True),
    "{task}/no_answer_exact_match": Tag("", "Share of the questions without an answer that are left without one.", True),
    "{task}/best_exact_match": Tag("", "exact_match with the best threshold for no answer.", True),
    "{task}/best_exact_match_threshold": Tag("", "That threshold."),
    "{task}/best_f1": Tag("", "f1 with the best threshold for no answer.", True),
    "{task}/best_f1_threshold": Tag("", "That threshold."),
    "{task}/accuracy_at_1": Tag("", "Share of the texts that are nearest to their own second text among all.", True),
    "{task}/mrr": Tag("", "Mean of 1 / rank of the own second text among all.", True),
    "{task}/margin": Tag("", "By how much the better answer is preferred to the worse; in units of the loss's logistic.", True),
    "{task}/generator_loss": Tag("nat", "Cross-entropy of the generator, averaged over the places that it fills."),
    "{task}/generator_accuracy": Tag("", "Share of the filled places where the generator holds the text's own token likeliest.", True),
    "{task}/discriminator_loss": Tag("nat", "Cross-entropy of telling the text's own tokens from the generator's."),
    "{task}/replaced": Tag("", "Share of the tokens that are the generator's: the accuracy of always guessing otherwise is what is left."),
    "{task}/matthews": Tag("", "Matthews correlation: 0 is chance, 1 is perfect.", True),
    "{task}/bleu": Tag("", "BLEU of written texts, 0 to 100: words and their sequences that the right text has too.", True),
    "{task}/chrf": Tag("", "chrF of written texts, 0 to 100: sequences of characters that the right text has too.", True),
    "{task}/chrf++": Tag("", "chrF of written texts with words and pairs of them, 0 to 100.", True),
    "{task}/ter": Tag("", "Edits that lead from a written text to the right one, for 100 words of it."),
    "{task}/rouge1": Tag("", "ROUGE-1 of written texts, 0 to 1: words shared with the right text.", True),
    "{task}/rouge2": Tag("", "ROUGE-2 of written texts, 0 to 1: pairs of words shared with the right text.", True),
    "{task}/rougeL": Tag("", "ROUGE-L of written texts, 0 to 1: the longest sequence shared with the right text.", True),
    "{task}/rougeLsum": Tag("", "ROUGE-L of written texts by line, 0 to 1.", True),
    "{task}/exact_match": Tag("", "Share of answers that are the right text.", True),
    "{task}/custom": Tag("", "A metric of your own.", True),
    "{task}/unigram_entropy": Tag("nat", "Cross-entropy of the same targets by their frequencies alone: the baseline of the loss."),
    "{task}/majority": Tag("", "Share of the commonest label: the accuracy of always guessing it."),
}


def split(tag: str) -> tuple[str, str]:
    """`"validation/lm/loss"` -> `("validation", "lm/loss")`: the kind of a figure and its name.

    Both kinds share names, so that TensorBoard draws training and validation into one panel.
    """
    kind, _, name = tag.partition("/")
    if kind not in (TRAIN, VALIDATION) or not name:
        raise ValueError(f"{tag} begins with neither {TRAIN}/ nor {VALIDATION}/")
    return kind, name


def find(name: str) -> Tag:
    """The table's entry for a name without its kind: `"loss"`, `"lm/loss"`. Raises KeyError for what the table lacks."""
    if name in TAGS:
        return TAGS[name]
    figure, dot, _ = name.partition("/")[2].partition(".")
    return TAGS["{task}/" + ({"f1": "f1_by_type", "custom": "custom"}[figure] if dot else figure)]


def shown(name: str) -> str:
    """The name in TensorBoard, which groups by what stands before the slash and opens the first two groups."""
    return name if "/" in name else f"run/{name}"


def is_timed(name: str) -> bool:
    """Whether a figure depends on the clock, so that it is left out where runs are compared bit by bit."""
    return find(name).timed
