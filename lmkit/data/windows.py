"""Windows: rows of a question and a part of a text, which overlap so that an answer stands whole in one of them (BERT, section 4.2)."""

from typing import NamedTuple

import numpy as np

from lmkit.data.rows import Rows
from lmkit.text.template import Template


class Windows(NamedTuple):
    """Tokens of a question at most (None: as many as there are), and tokens that a window shares with the one before it."""

    question: int | None
    stride: int

    def cut(self, questions_N: np.ndarray, texts_N: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(record, tokens of its question, first token of the text, tokens of the text) of each window of at most `room` tokens.

        The question has half of the room at most, and windows share half of their text at most.
        """
        question = np.minimum(questions_N, room // 2 if self.question is None else min(self.question, room // 2))
        size = room - question
        step = size - np.minimum(self.stride, size // 2)
        counts = 1 + -(np.minimum(size - texts_N, 0) // step)
        record = np.repeat(np.arange(len(counts)), counts)
        start = (np.arange(len(record)) - np.repeat(np.cumsum(counts) - counts, counts)) * step[record]
        return record, question[record], start, np.minimum(size[record], texts_N[record] - start)


def part_rows(texts: np.ndarray, width: int, template: Template, windows: Windows) -> Rows:
    """One piece a row: a part of a text, span i."""
    record, _, start, length = windows.cut(np.zeros_like(texts), texts, width - template.single.extra)
    return Rows(np.arange(len(record) + 1), record, start, length, record)


def window_rows(questions: np.ndarray, texts: np.ndarray, width: int, template: Template, windows: Windows) -> Rows:
    """Two pieces a row: span i is a question, span count + i the text that answers it."""
    record, question, start, length = windows.cut(questions, texts, width - template.pair.extra)
    return Rows(
        np.arange(len(record) + 1) * 2,
        np.stack([record, record + len(questions)], 1).ravel(),
        np.stack([np.zeros_like(start), start], 1).ravel(),
        np.stack([question, length], 1).ravel(),
        record,
    )
