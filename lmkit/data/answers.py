"""Answers in their texts: whether each stands where its record says, and where else it does."""

import re
from dataclasses import replace
from typing import Literal

from lmkit.data.document import Document
from lmkit.data.roles import NOWHERE
from lmkit.errors import DataError, Problem

Wrong = Literal["fail", "skip", "find"]
REPAIRS = "; wrong_answers: find takes the nearest place where it does, skip leaves such records out"


def placed(document: Document, wrong: Wrong) -> Document | None:
    """The document with every answer where it stands in its pair; of one that does not, what `wrong` says: None is to be left out.

    Raises DataError where that is fail, where find finds nothing, and where the record says nothing of answers.
    """
    if document.answers is None:
        raise DataError(Problem("is missing; give each question its answers, an empty list where there is none", "answers", document.where))
    text = document.pair or ""
    if all(_stands(text, start, answer) for start, answer in document.answers):
        return document
    if wrong == "skip":
        return None
    return replace(document, answers=tuple((_place(document, start, answer, wrong), answer) for start, answer in document.answers))


def _place(document: Document, start: int, answer: str, wrong: Wrong) -> int:
    text = document.pair or ""
    if _stands(text, start, answer):
        return start
    there = text[max(start, 0) :][: max(len(answer), 1)][:40]
    if wrong == "fail":
        what = f'does not stand at character {start}, where "{there}" does' if start != NOWHERE else "has no answer_start"
        raise DataError(Problem(f'the answer "{answer[:40]}" {what}{REPAIRS}', "answers", document.where))
    found = [match.start() for match in re.finditer(f"(?={re.escape(answer)})", text)] if answer.strip() else []
    if not found:
        what = f'the answer "{answer[:40]}" stands nowhere in the text; wrong_answers: skip leaves such records out'
        raise DataError(Problem(what, "answers", document.where))
    return min(found, key=lambda place: abs(place - max(start, 0)))


def _stands(text: str, start: int, answer: str) -> bool:
    return start >= 0 and bool(answer.strip()) and text.startswith(answer, start)
