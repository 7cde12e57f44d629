"""Questions of SQuAD files (Rajpurkar et al., 2016 and 2018): one JSON object of articles, their paragraphs, and questions to each."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from lmkit.data.document import Document
from lmkit.data.files import SPLIT_LIMIT, Stop, lines, opened, tried
from lmkit.data.jsonl import strict_json
from lmkit.data.roles import as_answers, as_text
from lmkit.errors import DataError, Problem

DECODER = json.JSONDecoder()
QUESTION = re.compile(r'"question"\s*:\s*')  # a key: a text that holds this has its quotes escaped
HEAD = re.compile(rb'\s*\{\s*("version"\s*:\s*("[^"]*"|[0-9.]+)\s*,\s*)?"data"\s*:\s*\[')


def is_squad(path: Path) -> bool:
    """Whether a file begins as SQuAD's do."""
    with opened(path) as file:
        return HEAD.match(file.read(4096).removeprefix(b"\xef\xbb\xbf")) is not None


def read_squad(path: Path, *, errors: Literal["fail", "replace"], longest: int, stop: Stop) -> Iterator[Document | DataError]:
    """One document a question, or the error that says why it is none: `text` asks, the paragraph is `pair`. Its `answers` are none
    where it is impossible, None if left out.

    Its place is the line of the question and its id, or in words where it has none. Raises DataError for what is wrong around
    questions, a paragraph of more than `longest` bytes too.
    """
    text = "".join(line for _, line in lines(path, errors=errors, longest=SPLIT_LIMIT, stop=stop))
    whole, line_of, number = _whole(text, path), _lines(text), 0
    for article, at in _each(whole, "data", str(path), "article"):
        for paragraph, here in _each(article, "paragraphs", at, "paragraph"):
            context = as_text(_required(paragraph, "context", here), "context", here, errors == "replace")
            if len(context) * 4 > longest and len(context.encode()) > longest:
                raise DataError(Problem(f"longer than max_record_bytes = {longest:,}; raise it", "context", here))
            for question, place in _each(paragraph, "qas", here, "question"):
                number += 1
                name = str(question.get("id", place.removeprefix(f"{path}: ")))
                known = {"pair": context, "file": str(path), "line": line_of(question), "id": name}
                yield tried(_asked, question, errors == "replace", known)
    if not number:
        raise DataError(Problem("holds no questions", where=str(path)))


def _asked(question: Mapping[str, Any], replace: bool, known: Mapping[str, Any]) -> Document:
    where = Document("", **known).where
    text = as_text(_required(question, "question", where), "question", where, replace)
    return Document(text, answers=_answers(question, where), **known)


def _lines(text: str) -> Callable[[Mapping[str, Any]], int]:
    """Gives for each question, asked for in their order, the line on which it is asked; for one that asks nothing, the last one."""
    keys, at, line = QUESTION.finditer(text), 0, 1

    def line_of(question: Mapping[str, Any]) -> int:
        nonlocal at, line
        if "question" in question:
            key = next((key for key in keys if DECODER.raw_decode(text, key.end())[0] == question["question"]), None)
            end = key.start() if key else at
            at, line = end, line + text.count("\n", at, end)
        return line

    return line_of


def _answers(question: Mapping[str, Any], where: str) -> tuple[tuple[int, str], ...] | None:
    if question.get("is_impossible"):
        if question.get("answers"):
            raise DataError(Problem("has answers though is_impossible is true; remove one of the two", "answers", where))
        return ()
    return as_answers(question["answers"], "answers", where) if "answers" in question else None


def _whole(text: str, path: Path) -> Mapping[str, Any]:
    try:
        value = strict_json(text)
    except json.JSONDecodeError as error:
        raise DataError(Problem(f"is no JSON: {error.msg.lower()}", where=f"{path}:{error.lineno}:{error.colno}")) from None
    except (ValueError, RecursionError) as error:
        raise DataError(Problem(f"is no JSON: {str(error)[:120]}", where=str(path))) from None
    if not isinstance(value, dict):
        raise DataError(Problem('expected one object {"data": [...]}; read a list of records as jsonl', where=str(path)))
    return value


def _each(value: Mapping[str, Any], key: str, where: str, what: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The objects of a list, each with its place in words: `file: article 1, paragraph 3`."""
    found = _required(value, key, where)
    if not isinstance(found, list):
        raise DataError(Problem(f"expected a list, got {json.dumps(found)[:40]}", key, where))
    for number, each in enumerate(found, 1):
        place = f"{where}{', ' if ': ' in where else ': '}{what} {number}"
        if not isinstance(each, dict):
            raise DataError(Problem(f"expected an object, got {json.dumps(each)[:40]}", key, place))
        yield each, place


def _required(value: Mapping[str, Any], key: str, where: str) -> Any:
    if value.get(key) is None:
        raise DataError(Problem(f"is missing; there are {', '.join(map(repr, value)) or 'no keys'}", key, where))
    return value[key]
