"""Written texts against references: BLEU, chrF and TER by sacrebleu (Post, 2018), ROUGE by rouge-score (Lin, 2004)."""

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from itertools import zip_longest
from typing import Any

import numpy as np

from lmkit.scores.characters import apart
from lmkit.scores.figure import Figure, figures
from lmkit.scores.names import TEXTS, refuse_unknown

CORPUS = ("bleu", "chrf", "chrf++", "ter")


def generation(
    predicted: Sequence[str],
    references: Sequence[Sequence[str]],
    names: Sequence[str],
    *,
    tokenize: str = "13a",
    stem: bool = True,
    rounds: int = 0,
) -> dict[str, Figure]:
    """Figures of TEXTS, each with its signature: bleu, chrf, ter 0 to 100 (less is better in ter); rouge's f-measure and exact_match
    0 to 1, of the reference that fits best.

    One reference or more for each text, of any number. `tokenize` is BLEU's, one of BLEU_TOKENIZERS. `stem` cuts English endings
    for ROUGE; rougeLsum takes each line as a sentence. ValueError for a text without references.
    """
    refuse_unknown(names, TEXTS)
    if len(predicted) != len(references) or not all(references):
        raise ValueError("each text needs a reference or more")
    if not predicted:
        return figures(names, lambda rows: {}, 0, rounds=rounds)
    found: dict[str, Figure] = {}
    for name in [name for name in names if name in CORPUS]:
        score, signature = _corpus_score(name, predicted, references, tokenize)
        found |= figures([name], score, len(predicted), rounds=rounds, signature=signature)
    rouges = [name for name in names if name.startswith("rouge")]
    if rouges:
        score = _means(rouges, _rouge(rouges, predicted, references, stem))
        signature = f"f-measure|stem:{'yes' if stem else 'no'}|version:{version('rouge-score')}"
        found |= figures(rouges, score, len(predicted), rounds=rounds, signature=signature)
    if "exact_match" in names:
        same = [[text.strip() in map(str.strip, right)] for text, right in zip(predicted, references, strict=True)]
        found |= figures(["exact_match"], _means(["exact_match"], same), len(predicted), rounds=rounds)
    return {name: found[name] for name in names}


class Words:
    """rouge-score's words for ASCII text; letters of all scripts count, and Chinese and Japanese characters stand alone."""

    def __init__(self, stem: bool) -> None:
        from rouge_score.tokenizers import DefaultTokenizer

        self.ascii = cache(DefaultTokenizer(use_stemmer=stem).tokenize)

    def tokenize(self, text: str) -> list[str]:
        """Runs of letters, marks and digits in lower case, of which the library cuts the endings of ASCII ones."""
        words = apart("".join(map(_in_word, text.lower()))).split()
        return [part for word in words for part in (self.ascii(word) if word.isascii() else (word,))]


@cache
def _in_word(char: str) -> str:
    return char if unicodedata.category(char)[0] in "LMN" else " "


def _corpus_score(
    name: str, predicted: Sequence[str], references: Sequence[Sequence[str]], tokenize: str
) -> tuple[Callable[[np.ndarray], dict[str, float]], str]:
    """The score of rows, and its signature. sacrebleu's own bootstrap holds rounds x texts x statistics at once and tells half a width
    only, so its statistics of each text, which it keeps to itself, are added up here."""
    from sacrebleu.metrics import BLEU, CHRF, TER

    metrics: dict[str, Callable[[], Any]] = {
        "bleu": lambda: BLEU(tokenize=tokenize, force=True),
        "chrf": CHRF,
        "chrf++": lambda: CHRF(word_order=2),
        "ter": TER,
    }
    metric = metrics[name]()
    statistics = np.array(metric._extract_corpus_statistics(predicted, list(zip_longest(*references))))
    return lambda rows: {name: metric._compute_score_from_stats(statistics[rows].sum(axis=0).tolist()).score}, str(metric.get_signature())


def _rouge(names: Sequence[str], predicted: Sequence[str], references: Sequence[Sequence[str]], stem: bool) -> list[list[float]]:
    """The f-measures of each text, [texts][names]."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(names, tokenizer=Words(stem))
    scores = (scorer.score_multi(right, text) for text, right in zip(predicted, references, strict=True))
    return [[float(score[name].fmeasure) for name in names] for score in scores]


def _means(names: Sequence[str], values: Sequence[Sequence[float]]) -> Callable[[np.ndarray], dict[str, float]]:
    table = np.array(values, float)
    return lambda rows: dict(zip(names, table[rows].mean(axis=0).tolist(), strict=True))
