"""Answers to questions: the parts of a second text that answer the first, the likeliest first, with the characters they stand at."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lmkit.data.document import Document
from lmkit.data.windows import Windows
from lmkit.inference.opened import OpenedModel
from lmkit.inference.rows import compiled_reader, room
from lmkit.tasks.spec import QuestionAnswering
from lmkit.text.template import Row
from lmkit.text.words import trimmed

LONGEST_ROW = 384  # of an imported model, as such models were trained (SQuAD)

Answer = dict[str, Any]
Candidate = tuple[float, int, int]  # probability, first token and last token of the text


def span_finder(opened: OpenedModel, name: str, task: QuestionAnswering) -> Callable[[Sequence[Document]], list[Answer]]:
    """For each pair of a question and a text the best answers; long texts are read in the windows that the task was trained on."""
    tokenizer, head = opened.tokenizer, opened.model.heads[name]
    longest = min(room(opened), LONGEST_ROW) if opened.imported else room(opened)
    windows = Windows(task.max_question_length, task.stride)
    read = compiled_reader(opened, name, lambda hidden, batch: head.logits(hidden, batch["segments"]))

    def answers(documents: Sequence[Document]) -> list[Answer]:
        questions = [ids for ids, _ in tokenizer.spans([document.text for document in documents])]
        texts = tokenizer.spans([document.pair or "" for document in documents])
        sizes = np.array([len(ids) for ids in questions], int), np.array([len(ids) for ids, _ in texts], int)
        cut = list(zip(*windows.cut(*sizes, longest - tokenizer.template.pair.extra), strict=True))
        rows = [tokenizer.template.row(questions[i][:asked], texts[i][0][start : start + size]) for i, asked, start, size in cut]
        found: list[list[Candidate]] = [[] for _ in documents]
        nothing = [1.0] * len(documents)
        for (i, _, start, _), row, (scores,) in zip(cut, rows, read(rows), strict=True):
            candidates, none = spans_of(scores, row, task.max_answer_length, task.n_best)
            found[i] += [(share, int(start) + first, int(start) + last) for share, first, last in candidates]
            nothing[i] = min(nothing[i], none)
        return [
            _answer(document.pair or "", offsets, candidates, none, task)
            for document, (_, offsets), candidates, none in zip(documents, texts, found, nothing, strict=True)
        ]

    return answers


def spans_of(scores_2T: np.ndarray, row: Row, longest: int, best: int) -> tuple[list[Candidate], float]:
    """The likeliest spans of a row's second text, and the probability that it has no answer (both ends at the row's first token).

    Probabilities are those of the first token and of the text, of beginnings and of ends by themselves.
    """
    begin, length = row.begins[1], row.lengths[1]
    if not length:
        return [], 1.0
    chosen = scores_2T[:, [0, *range(begin, begin + length)]].astype(np.float64)
    shares = np.exp(chosen - chosen.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    none = float(shares[0, 0] * shares[1, 0])
    starts, ends = shares[:, 1:]
    ahead = np.append(ends, np.zeros(longest - 1))  # no text begins behind the last token
    spans = starts[:, None] * sliding_window_view(ahead, longest)  # by first token, and tokens from there to the last
    likeliest = np.argpartition(spans, -min(best, spans.size), axis=None)[-best:]
    found = [(float(spans.flat[at]), int(at) // longest, int(at) // longest + int(at) % longest) for at in likeliest]
    return sorted((candidate for candidate in found if candidate[0] > 0), reverse=True), none


def _answer(text: str, offsets: np.ndarray, candidates: list[Candidate], none: float, task: QuestionAnswering) -> Answer:
    best: dict[tuple[int, int], Answer] = {}
    for share, first, last in sorted(candidates, reverse=True):
        a, b = trimmed(text, int(offsets[first][0]), int(offsets[last][1]))
        if a < b:
            best.setdefault((a, b), {"text": text[a:b], "start": a, "end": b, "probability": share})
    found = list(best.values())[: task.n_best]
    no_answer = none / (none + found[0]["probability"]) if found else 1.0
    empty = not found or no_answer > task.most_doubt
    return {"answer": "" if empty else found[0]["text"], "spans": found, "no_answer": no_answer}
