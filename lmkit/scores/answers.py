"""Answers to questions as SQuAD scores them (Rajpurkar et al., 2016 and 2018), and those in Chinese as MLQA does."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from math import nan

import numpy as np

from lmkit.scores.characters import UNSPACED, apart
from lmkit.scores.figure import Figure, figures
from lmkit.scores.names import ANSWERS, refuse_unknown

ARTICLES = re.compile(r"\b(a|an|the)\b")


def question_answering(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[str],
    no_answer_probability: Sequence[float] | None,
    names: Sequence[str],
    *,
    rounds: int = 0,
) -> dict[str, Figure]:
    """Figures of ANSWERS, 0 to 1: `gold` holds every right answer of a question, none where it has none; a prediction of "" says so.

    has_answer_... and no_answer_... are over the questions with and without an answer, nan if there are no such. best_... is what
    the best threshold on `no_answer_probability` would reach, above which there is held to be no answer; nan without these.
    """
    refuse_unknown(names, ANSWERS)
    each = [answer_scores(golds, guess) for golds, guess in zip(gold, predicted, strict=True)]
    exact, f1 = np.array(each, float).reshape(-1, 2).T
    answerable = np.array([len(golds) > 0 for golds in gold], bool)
    said = np.array([guess != "" for guess in predicted], bool)
    doubt = None if no_answer_probability is None else np.asarray(no_answer_probability, float)

    def score(rows: np.ndarray) -> dict[str, float]:
        has = answerable[rows]
        found = {"exact_match": exact[rows], "f1": f1[rows], "has_answer_exact_match": exact[rows][has], "has_answer_f1": f1[rows][has]}
        values = {name: _mean(part) for name, part in {**found, "no_answer_exact_match": exact[rows][~has]}.items()}
        for name, scores in (("exact_match", exact[rows]), ("f1", f1[rows])):
            if f"best_{name}" in names or f"best_{name}_threshold" in names:
                best = (nan, nan) if doubt is None else best_threshold(scores, has, said[rows], doubt[rows])
                values[f"best_{name}"], values[f"best_{name}_threshold"] = best
        return values

    return figures(names, score, len(gold), rounds=rounds)


def normalized(text: str, chinese: bool = False) -> str:
    """Lower case, without punctuation and articles, single spaces; `chinese` drops the punctuation of every script, and no articles."""
    kept = (char for char in text.lower() if char not in string.punctuation and not (chinese and unicodedata.category(char)[0] == "P"))
    bare = "".join(kept)
    return " ".join((apart(bare) if chinese else ARTICLES.sub(" ", bare)).split())


def answer_scores(golds: Sequence[str], guess: str) -> tuple[float, float]:
    """(exact match, F1 of words) of the right answer that each fits best; no right answer, or one without words, asks for none.

    Where Chinese or Japanese characters stand in any of the texts, each of them is a word.
    """
    chinese = any(UNSPACED.search(text) for text in (*golds, guess))
    rights = [right for right in (normalized(gold, chinese) for gold in golds) if right] or [""]
    answer = normalized(guess, chinese)
    return max(float(right == answer) for right in rights), max(_f1(right.split(), answer.split()) for right in rights)


def best_threshold(scores: np.ndarray, answerable: np.ndarray, said: np.ndarray, doubt: np.ndarray) -> tuple[float, float]:
    """The best mean of scores [N], and the threshold that gives it: at first no question is answered, then one after the other."""
    order = np.argsort(doubt, kind="stable")
    gain = np.where(answerable, scores, -said.astype(float))[order]
    sums = np.cumsum([np.sum(~answerable), *gain])
    best = int(np.argmax(sums))
    return float(sums[best] / len(scores)), float(doubt[order[best - 1]]) if best else 0.0


def _f1(right: list[str], answer: list[str]) -> float:
    if not right or not answer:
        return float(right == answer)
    same = sum((Counter(right) & Counter(answer)).values())
    precision, recall = same / len(answer), same / len(right)
    return 2 * precision * recall / (precision + recall) if same else 0.0


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else nan
