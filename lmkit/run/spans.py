"""Answers to questions: the parts of a second text that answer the first, the likeliest first, with the characters they stand at."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lmkit.data.document import Document
from lmkit.run.open import OpenedRun
from lmkit.run.rows import compiled_reader, room
from lmkit.run.token_answers import OVERLAP
from lmkit.text.template import Row

LONGEST_ROW = 384  # rows of a long text, as the models were trained (SQuAD)
LONGEST = 15  # tokens of an answer
BEST = 3

Answer = dict[str, Any]
Candidate = tuple[float, int, int]  # probability, first token and last token of the text


def span_finder(opened: OpenedRun, name: str) -> Callable[[Sequence[Document]], list[Answer]]:
    """For each pair of a question and a text the best answers; long texts are read in overlapping rows."""
    tokenizer, head = opened.tokenizer, opened.model.heads[name]
    budget = min(room(opened), LONGEST_ROW) - tokenizer.template.pair.extra
    read = compiled_reader(opened, name, lambda hidden, batch: head.logits(hidden, batch["segments"]))

    def answers(documents: Sequence[Document]) -> list[Answer]:
        questions = tokenizer.spans([document.text for document in documents])
        texts = tokenizer.spans([document.pair or "" for document in documents])
        rows: list[tuple[int, int, Row]] = []  # document, first token of the text, row
        for i, ((question, _), (text, _)) in enumerate(zip(questions, texts, strict=True)):
            question = question[: budget // 2]
            size = budget - len(question)
            starts = [0]
            while starts[-1] + size < len(text):
                starts.append(starts[-1] + max(size - min(OVERLAP, size // 2), 1))
            rows += [(i, start, tokenizer.template.row(question, text[start : start + size])) for start in starts]
        found: list[list[Candidate]] = [[] for _ in documents]
        nothing = [1.0] * len(documents)
        for (i, start, row), (scores,) in zip(rows, read([row for _, _, row in rows]), strict=True):
            candidates, none = spans_of(scores, row)
            found[i] += [(share, start + first, start + last) for share, first, last in candidates]
            nothing[i] = min(nothing[i], none)
        return [
            _answer(document.pair or "", offsets, candidates, none)
            for document, (_, offsets), candidates, none in zip(documents, texts, found, nothing, strict=True)
        ]

    return answers


def spans_of(scores_2T: np.ndarray, row: Row) -> tuple[list[Candidate], float]:
    """The likeliest spans of a row's second text, and the probability that it has no answer (both ends at the row's first token).

    Probabilities are those of the first token, if it is special, and of the text, of beginnings and of ends by themselves.
    """
    begin, length = row.begins[1], row.lengths[1]
    if not length:
        return [], 1.0
    places = [0] if row.begins[0] > 0 else []
    chosen = scores_2T[:, [*places, *range(begin, begin + length)]].astype(np.float64)
    shares = np.exp(chosen - chosen.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    none = float(shares[0, 0] * shares[1, 0]) if places else 0.0
    starts, ends = shares[:, len(places) :]
    both = np.triu(starts[:, None] * ends[None, :])
    both -= np.triu(both, LONGEST)
    order = np.argsort(both, axis=None)[::-1][:BEST]
    best = [(float(both.flat[at]), int(at) // length, int(at) % length) for at in order]
    return [candidate for candidate in best if candidate[0] > 0], none


def _answer(text: str, offsets: np.ndarray, candidates: list[Candidate], none: float) -> Answer:
    best: dict[tuple[int, int], Answer] = {}
    for share, first, last in sorted(candidates, reverse=True):
        a, b = int(offsets[first][0]), int(offsets[last][1])
        best.setdefault((a, b), {"text": text[a:b], "start": a, "end": b, "probability": share})
    found = list(best.values())[:BEST]
    return {"answer": found[0]["text"] if found else "", "spans": found, "no_answer": none}
