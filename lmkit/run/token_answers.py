"""Answers for each token of a text, with the characters it stands for: labels, entities, tokens that are not the text's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from lmkit.data.document import Document
from lmkit.run.open import OpenedRun
from lmkit.run.rows import compiled_reader, room
from lmkit.text.template import Row

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


def token_labeller(opened: OpenedRun, name: str, labels: Sequence[str]) -> Read:
    """For each token of the first text its label and probability, and the entities that they spell."""
    head = opened.model.heads[name]

    def forward(hidden: Any, batch: dict[str, Any]) -> Any:
        return ops.softmax(ops.cast(head.logits(hidden, batch["segments"]), "float32"), axis=-1)

    def answer(text: str, spans: np.ndarray, shares: np.ndarray) -> Answer:
        tokens = [
            {"text": text[a:b], "start": int(a), "end": int(b), "label": labels[int(share.argmax())], "probability": float(share.max())}
            for (a, b), share in zip(spans, shares, strict=True)
        ]
        return {"entities": entities(text, tokens), "tokens": tokens}

    return _by_token(opened, name, forward, answer)


def entities(text: str, tokens: Sequence[Answer]) -> list[Answer]:
    """Neighbouring tokens of one label joined; B- begins an entity, I- goes on, O is none. The probability is the mean."""
    found: list[list[Answer]] = []
    last = ""
    for token in tokens:
        begins, label = _parts(token["label"])
        if label == OUTSIDE:
            last = ""
            continue
        if label == last and not begins:
            found[-1].append(token)
        else:
            found.append([token])
        last = label
    return [
        {
            "label": _parts(group[0]["label"])[1],
            "text": text[group[0]["start"] : group[-1]["end"]],
            "start": group[0]["start"],
            "end": group[-1]["end"],
            "probability": sum(token["probability"] for token in group) / len(group),
        }
        for group in found
    ]


def _parts(label: str) -> tuple[bool, str]:
    return (label.startswith("B-"), label[2:]) if label[:2] in ("B-", "I-") else (False, label)


def replaced_finder(opened: OpenedRun, name: str) -> Read:
    """For each token of the first text the probability that it is not the text's own."""
    head = opened.model.heads[name]

    def forward(hidden: Any, batch: dict[str, Any]) -> Any:
        return ops.sigmoid(ops.cast(head.logits(hidden, batch["segments"]), "float32"))

    def answer(text: str, spans: np.ndarray, shares: np.ndarray) -> Answer:
        found = zip(spans, shares, strict=True)
        return {"tokens": [{"text": text[a:b], "start": int(a), "end": int(b), "replaced": float(share)} for (a, b), share in found]}

    return _by_token(opened, name, forward, answer)


def _by_token(
    opened: OpenedRun, name: str, forward: Callable[[Any, dict[str, Any]], Any], answer: Callable[[str, np.ndarray, np.ndarray], Answer]
) -> Read:
    template = opened.tokenizer.template
    budget = max(room(opened) - template.single.extra, 1)
    read = compiled_reader(opened, name, forward)

    def answers(documents: Sequence[Document]) -> list[Answer]:
        found = opened.tokenizer.spans([document.text for document in documents])
        parts = [windows(ids, budget, template.row) for ids, _ in found]
        outputs = iter(read([window.row for part in parts for window in part]))
        made = []
        for document, (_, spans), part in zip(documents, found, parts, strict=True):
            values = [_kept(window, next(outputs)[0]) for window in part]
            made.append(answer(document.text, spans, np.concatenate(values)))
        return made

    return answers


def _kept(window: Window, values: np.ndarray) -> np.ndarray:
    begin = window.row.begins[0] - window.start
    return values[begin + window.kept[0] : begin + window.kept[1]]
