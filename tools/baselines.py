"""What simple means reach on a spec's own data: `python tools/baselines.py SPEC [--data FILE] [key=value ...]`.

They learn from data.train, answer data.validation or the file, and are scored by the functions of `lmkit evaluate`, with its intervals.
A task kind is added in BASELINES; an answer has the form that lmkit/tasks/scores.py reads. OF_TOKENS have the entropy of their tokens.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from lmkit.data.document import Document
from lmkit.data.sources import read
from lmkit.data.spec import Holdout
from lmkit.errors import DataError, LmkitError, Problem
from lmkit.inference.gold import right
from lmkit.run import table
from lmkit.run.material import material, tokenizer_of
from lmkit.run.on_file import on_file
from lmkit.scores.answers import normalized
from lmkit.scores.characters import UNSPACED
from lmkit.scores.classes import classification
from lmkit.scores.figure import ROUNDS, Figure
from lmkit.spec_file.load import load
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.classification import label_names
from lmkit.tasks.scores import Pair, scores_of
from lmkit.tasks.spec import AnyTask, Labelled
from lmkit.text.sentences import split_sentences

BETTER, WORSE = "chosen", "rejected"


@dataclass(frozen=True)
class Data:
    """Training documents with what is right of each, and the documents to answer."""

    known: Sequence[Document]
    gold: Sequence[Any]
    asked: Sequence[Document]


Baseline = Callable[[Data], list[Any]]


def majority(data: Data) -> list[Any]:
    """What is right most often."""
    return [Counter(data.gold).most_common(1)[0][0]] * len(data.asked)


def logistic(data: Data) -> list[Any]:
    """Logistic regression."""
    known, asked = _features(data)
    classes = list(dict.fromkeys(data.gold))
    model = LogisticRegression(C=10, max_iter=1000).fit(known, [classes.index(each) for each in data.gold])
    return [classes[i] for i in model.predict(asked)]


def commonest_label(data: Data) -> list[tuple[str, ...]]:
    """The label that most texts have, alone."""
    return [(Counter(chain.from_iterable(data.gold)).most_common(1)[0][0],)] * len(data.asked)


def logistic_by_label(data: Data) -> list[tuple[str, ...]]:
    """Logistic regression of each label by itself, in which texts with it and texts without it count alike."""
    known, asked = _features(data)
    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    labels = sorted(set(chain.from_iterable(data.gold)))
    found = [model.fit(known, [label in gold for gold in data.gold]).predict(asked) for label in labels]
    return [tuple(label for label, has in zip(labels, each, strict=True) if has) for each in zip(*found, strict=True)]


def ridge(data: Data) -> list[float]:
    """Ridge regression."""
    known, asked = _features(data)
    return [float(value) for value in Ridge().fit(known, data.gold).predict(asked)]


def scaled_cosine(data: Data) -> list[float]:
    """The cosine of both texts' tf-idf vectors, on the line that fits the training data best."""
    weigh = _tf_idf(data, 1)
    both = (_both(weigh, documents) for documents in (data.known, data.asked))
    known, asked = (np.asarray(first.multiply(second).sum(axis=1)).ravel() for first, second in both)
    slope, start = np.polyfit(known, data.gold, 1)
    return [float(value) for value in slope * asked + start]


def vectors(data: Data) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both texts' tf-idf vectors."""
    first, second = _both(_tf_idf(data, 1), data.asked)
    return list(zip(first.toarray(), second.toarray(), strict=True))


def frequent_tags(data: Data) -> list[list[str]]:
    """The tag that each word form has most often, and for other words the one that all have most often."""
    tags: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for document, gold in zip(data.known, data.gold, strict=True):
        for word, tag in zip(_forms(document), gold, strict=True):
            tags[word][tag] += 1
    usual = {word: found.most_common(1)[0][0] for word, found in tags.items()}
    other = Counter(chain.from_iterable(data.gold)).most_common(1)[0][0]
    return [[usual.get(word, other) for word in _forms(document)] for document in data.asked]


def nearest_sentence(data: Data) -> list[tuple[str, float]]:
    """The sentence that shares most words with the question."""
    return [(_nearest(document.text, _sentences(document.pair or "")), 0.0) for document in data.asked]


def first_sentence_of_pair(data: Data) -> list[tuple[str, float]]:
    """The first sentence of the text that is asked about."""
    return [(_sentences(document.pair or "")[0], 0.0) for document in data.asked]


def nearest_choice(data: Data) -> list[str]:
    """The place of the choice that shares most words with the text."""
    choices = [(document.text, document.choices or ()) for document in data.asked]
    return [str(each.index(_nearest(text, each))) for text, each in choices]


def likest_choice(data: Data) -> list[str]:
    """The place of the choice whose tf-idf vector has the greatest cosine to that of the text."""
    weigh = _tf_idf(data, 1)
    cosines = [weigh.transform(each.choices or ()) @ weigh.transform([each.text]).T for each in data.asked]
    return [str(of_choices.toarray().argmax()) for of_choices in cosines]


def copy(data: Data) -> list[str]:
    """The text itself."""
    return [document.text for document in data.asked]


def first_sentence(data: Data) -> list[str]:
    """The first sentence of the text (lead-1)."""
    return [_sentences(document.text)[0] for document in data.asked]


def by_length(data: Data, sign: int) -> list[str]:
    """The answer of more characters where sign is 1, of fewer where it is -1; of equal ones, the worse."""
    lengths = [[len(str(talk[-1]["content"])) for talk in (each.messages, each.rejected) if talk] for each in data.asked]
    return [BETTER if sign * (better - worse) > 0 else WORSE for better, worse in lengths]


LENGTHS: dict[str, Baseline] = {"longer answer": partial(by_length, sign=1), "shorter answer": partial(by_length, sign=-1)}
BASELINES: dict[str, dict[str, Baseline]] = {
    "classification": {"majority": majority, "bag of words": logistic},
    "multi_label": {"majority": majority, "most frequent label": commonest_label, "bag of words": logistic_by_label},
    "multiple_choice": {"majority": majority, "most shared words": nearest_choice, "tf-idf cosine": likest_choice},
    "regression": {"tf-idf cosine": scaled_cosine, "bag of words": ridge},
    "sentence_embedding": {"tf-idf cosine": vectors},
    "token_classification": {"most frequent tag": frequent_tags},
    "question_answering": {"first sentence": first_sentence_of_pair, "most shared words": nearest_sentence},
    "seq2seq": {"copy": copy, "first sentence": first_sentence},
    "dpo": LENGTHS,
    "reward": LENGTHS,
}
OF_PAIRS, PREFERENCES = (scaled_cosine, vectors), ("dpo", "reward")
OF_TOKENS = ("causal_lm", "masked_lm", "prefix_lm", "span_corruption")


def _tf_idf(data: Data, words: int) -> TfidfVectorizer:
    """Weights of runs of up to so many words, or of up to three characters where texts are Chinese or Japanese."""
    texts = [text for document in data.known for text in (document.text, document.pair) if text is not None]
    unspaced = sum(UNSPACED.search(text) is not None for text in texts) > len(texts) / 2
    runs = {"analyzer": "char", "ngram_range": (1, 3)} if unspaced else {"token_pattern": r"\w+", "ngram_range": (1, words)}
    return TfidfVectorizer(**runs).fit(texts)


def _both(weigh: TfidfVectorizer, documents: Sequence[Document]) -> tuple[csr_matrix, csr_matrix]:
    return weigh.transform([each.text for each in documents]), weigh.transform([each.pair or "" for each in documents])


def _features(data: Data) -> tuple[csr_matrix, csr_matrix]:
    """Tf-idf of runs of one or two words [documents, features]; of pairs both texts', that of what they share, and their cosine."""
    weigh = _tf_idf(data, 2)

    def of(documents: Sequence[Document]) -> csr_matrix:
        first, second = _both(weigh, documents)
        shared = [second, first.minimum(second), first.multiply(second).sum(axis=1)]
        return csr_matrix(hstack([first, *shared])) if documents[0].pair is not None else first

    return of(data.known), of(data.asked)


def _forms(document: Document) -> list[str]:
    return [document.text[begin:end] for begin, end in document.words]


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in split_sentences(text, "rules")] or [""]


def _nearest(text: str, candidates: Sequence[str]) -> str:
    """The first of those that share most words with the text."""

    def words(of: str) -> set[str]:
        return set(normalized(of, UNSPACED.search(of) is not None).split())

    wanted = words(text)
    return max(candidates, key=lambda candidate: len(words(candidate) & wanted))


def scores(path: Path, overrides: Sequence[str] = (), data: Path | None = None) -> dict[str, Figure]:
    """The figures of every baseline of every task, as `task/baseline/figure`. Raises LmkitError for what is wrong with spec or data."""
    spec = on_file(load(path, list(overrides)).spec, data, {}, path)
    found: dict[str, Figure] = {}
    for name, task in spec.tasks.items():
        kind = "multi_label" if getattr(task, "multi_label", False) else task.kind
        if kind in BASELINES:
            found |= {f"{name}/{figure}": value for figure, value in _of_answers(spec, name, task, BASELINES[kind]).items()}
        elif kind in OF_TOKENS:
            found[f"{name}/unigram entropy/loss"] = Figure(unigram_entropy(spec, name))
    return found


def unigram_entropy(spec: RunSpec, name: str) -> float:
    """The nats of a token that a task is asked of data.validation: no one distribution for all of them comes nearer."""
    with tempfile.TemporaryDirectory() as cache:
        quiet: dict[str, Any] = {"say": lambda _: None, "stop": lambda: False}
        stuff = material(spec, tokenizer=tokenizer_of(spec, **quiet), cache=Path(cache), **quiet)
        asked = [batch[f"{name}/labels"][batch[f"{name}/weights"] > 0] for batch in stuff.batches.validation if f"{name}/labels" in batch]
    _, counts = np.unique(np.concatenate(asked), return_counts=True)
    return float(np.log(counts.sum()) - (counts * np.log(counts)).sum() / counts.sum())


def _of_answers(spec: RunSpec, name: str, task: AnyTask, baselines: dict[str, Baseline]) -> dict[str, Figure]:
    source = spec.data.validation
    if source is None or isinstance(source, Holdout):
        raise DataError(Problem("is no file; name one with --data", "data.validation"))
    asked = list(read(source))
    known = [document for each, source in spec.data.train.items() if task.data in (None, each) for document in read(source)]
    labels = _labels(name, task, known)
    of_known, of_asked = ([_gold(name, task, labels, document) for document in documents] for documents in (known, asked))
    found: dict[str, Figure] = {}
    for baseline, answer in baselines.items():
        if answer not in OF_PAIRS or asked[0].pair is not None:
            pairs = list(zip(of_asked, answer(Data(known, of_known, asked)), strict=True))
            found |= {f"{baseline}/{figure}": value for figure, value in _figures(task, pairs, labels).items()}
    return found


def _labels(name: str, task: AnyTask, known: Sequence[Document]) -> tuple[str, ...]:
    if not isinstance(task, Labelled):
        return ()
    said = chain.from_iterable(document.tags or document.labels or (document.label,) for document in known)
    return label_names(task.labels, {label for label in said if label is not None}, f"tasks.{name}.labels")


def _gold(name: str, task: AnyTask, labels: Sequence[str], document: Document) -> Any:
    if task.kind in PREFERENCES:
        return BETTER
    found = right(name, task, labels, document)
    return tuple(found) if isinstance(found, list) else str(found) if task.kind == "multiple_choice" else found


def _figures(task: AnyTask, pairs: Sequence[Pair], labels: Sequence[str]) -> dict[str, Figure]:
    if task.kind in PREFERENCES:
        return classification([one for one, _ in pairs], [other for _, other in pairs], (BETTER, WORSE), ("accuracy",), rounds=ROUNDS)
    return scores_of(task, pairs, labels, rounds=ROUNDS)


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--data", type=Path, help="a file to answer in place of data.validation")
    given = parser.parse_intermixed_args()
    try:
        found = scores(given.spec, given.overrides, given.data)
    except LmkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("\n".join(table.lines(found)) if found else "no task of this spec has a baseline")
    return 0


if __name__ == "__main__":
    sys.exit(main())
