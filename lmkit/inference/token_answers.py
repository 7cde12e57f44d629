"""Answers for each place of a text, with the characters it stands for: labels of words, entities, tokens that are not its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from keras import ops

from lmkit.data.document import Document
from lmkit.inference.opened import OpenedModel
from lmkit.inference.rows import Forward, compiled_reader, room
from lmkit.scores.tags import ENTITY_TAG
from lmkit.scores.tags import entities as spelled
from lmkit.text.template import Row
from lmkit.text.words import behind_marks, first_tokens, split_words

OVERLAP = 128  # tokens that neighbouring windows of a long text share, and half a window at most
OUTSIDE = "O"

Answer = dict[str, Any]
Read = Callable[[Sequence[Document]], list[Answer]]


@dataclass(frozen=True)
class Window:
    """A row with a part of a text: tokens `start`.. of it; the answers of `kept` (row-wise, [from, to)) are taken from here."""

    row: Row
    start: int
    kept: tuple[int, int]


def windows(ids: np.ndarray, budget: int, frame: Callable[[np.ndarray], Row]) -> list[Window]:
    """Overlapping rows that cover a text; each token is kept in the one where it stands farther from the edges."""
    overlap = min(OVERLAP, budget // 2)
    step = max(budget - overlap, 1)
    starts = [0]
    while starts[-1] + budget < len(ids):
        starts.append(starts[-1] + step)
    found = []
    for number, start in enumerate(starts):
        low = start + overlap // 2 if number else 0
        high = starts[number + 1] + overlap // 2 if number + 1 < len(starts) else len(ids)
        found.append(Window(frame(ids[start : start + budget]), start, (low, high)))
    return found


def word_labeller(opened: OpenedModel, name: str, labels: Sequence[str]) -> Read:
    """For each word of the first text its label and probability, and the entities that they spell.

    A word has the label of its first token, where it was learned (transformers' aggregation_strategy "first"). The words are the
    document's own, or those that the tokenizer sees in running text; one that the tokenizer leaves out has no label.
    """
    head, tokenizer = opened.model.heads[name], opened.tokenizer
    tagged = all(ENTITY_TAG.fullmatch(label) for label in labels)

    def forward(hidden: Any, batch: dict[str, Any]) -> Any:
        return ops.softmax(ops.cast(head.logits(hidden, batch["segments"]), "float32"), axis=-1)

    def answer(document: Document, ids: np.ndarray, spans: np.ndarray, shares: np.ndarray) -> Answer:
        text = document.text
        opens = tokenizer.word_start[ids] | (not tokenizer.spaced and behind_marks(text, spans))
        places = document.words or split_words(text, spans, opens)
        words = []
        for (a, b), token in zip(places, first_tokens(places, spans).tolist(), strict=True):
            label, share = (labels[int(shares[token].argmax())], float(shares[token].max())) if token >= 0 else (None, 0.0)
            words.append({"text": text[a:b], "start": a, "end": b, "label": label, "probability": share})
        return {"entities": entities(text, words, tagged), "words": words}

    return _by_token(opened, name, forward, answer)


def entities(text: str, words: Sequence[Answer], tagged: bool) -> list[Answer]:
    """Neighbouring words joined to entities, whose probability is the mean of theirs.

    `tagged` labels are those of IOB1, IOB2 or IOBES, and others that `scores/tags.py` reads; else words of one label belong
    together. O is none.
    """
    labels = [word["label"] or OUTSIDE for word in words]
    return [
        {
            "label": kind,
            "text": text[words[first]["start"] : words[end - 1]["end"]],
            "start": words[first]["start"],
            "end": words[end - 1]["end"],
            "probability": sum(word["probability"] for word in words[first:end]) / (end - first),
        }
        for first, end, kind in sorted((first, end, kind) for kind, first, end in (spelled(labels) if tagged else _equal(labels)))
    ]


def _equal(labels: Sequence[str]) -> set[tuple[str, int, int]]:
    edges = [i for i in range(len(labels) + 1) if i in (0, len(labels)) or labels[i] != labels[i - 1]]
    return {(labels[a], a, b) for a, b in pairwise(edges) if labels[a] != OUTSIDE}


def replaced_finder(opened: OpenedModel, name: str) -> Read:
    """For each token of the first text the probability that it is not the text's own."""
    head = opened.model.heads[name]

    def forward(hidden: Any, batch: dict[str, Any]) -> Any:
        return ops.sigmoid(ops.cast(head.logits(hidden, batch["segments"]), "float32"))

    def answer(document: Document, ids: np.ndarray, spans: np.ndarray, shares: np.ndarray) -> Answer:
        text, found = document.text, zip(spans, shares, strict=True)
        return {"tokens": [{"text": text[a:b], "start": int(a), "end": int(b), "replaced": float(share)} for (a, b), share in found]}

    return _by_token(opened, name, forward, answer)


def _by_token(opened: OpenedModel, name: str, forward: Forward, answer: Callable[..., Answer]) -> Read:
    """`answer` gets the document, the ids and places of its tokens, and what `forward` gives for each."""
    template = opened.tokenizer.template
    budget = max(room(opened) - template.single.extra, 1)
    read = compiled_reader(opened, name, forward)

    def answers(documents: Sequence[Document]) -> list[Answer]:
        found = opened.tokenizer.spans([document.text for document in documents])
        parts = [windows(ids, budget, template.row) for ids, _ in found]
        outputs = iter(read([window.row for part in parts for window in part]))
        made = []
        for document, (ids, spans), part in zip(documents, found, parts, strict=True):
            values = [_kept(window, next(outputs)[0]) for window in part]
            made.append(answer(document, ids, spans, np.concatenate(values)))
        return made

    return answers


def _kept(window: Window, values: np.ndarray) -> np.ndarray:
    begin = window.row.begins[0] - window.start
    return values[begin + window.kept[0] : begin + window.kept[1]]
