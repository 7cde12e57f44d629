"""Records of JSON files, read strictly: one object a line, or one array of objects; no key twice, no NaN."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

from lmkit.data.files import SPLIT_LIMIT, Stop, each_line, tried
from lmkit.data.json_array import is_array, read_array
from lmkit.errors import DataError, Problem


def read_jsonl(
    path: Path, *, errors: Literal["fail", "replace"], longest: int, split: bool, stop: Stop
) -> Iterator[tuple[int, dict[str, Any] | DataError]]:
    """(line, object) of each line that is not blank, or of each object of the array, which begins there; one that cannot be read is an
    error in its place.
    """
    longest = max(longest, SPLIT_LIMIT) if split else longest
    if is_array(path):
        for number, text in read_array(path, errors=errors, longest=longest, stop=stop):
            yield number, tried(_record, text, f"{path}:{number}", partial(_inside, path, number))
        return
    for number, line in each_line(path, errors=errors, longest=longest, stop=stop):
        if isinstance(line, DataError):
            yield number, line
        elif not line.isspace():
            yield number, tried(record_of, line, f"{path}:{number}")


def record_of(text: str, where: str) -> dict[str, Any]:
    """The object of one line; raises DataError naming `where` it stands."""
    return _record(
        text, where, lambda error: Problem(f"is no JSON: {error.msg.lower()}; each line is one object", where=f"{where}:{error.colno}")
    )


def _inside(path: Path, line: int, error: json.JSONDecodeError) -> Problem:
    """What is wrong with an object that begins somewhere on a line."""
    column = f":{error.colno}" if error.lineno > 1 else ""
    return Problem(f"is no JSON: {error.msg.lower()}", where=f"{path}:{line + error.lineno - 1}{column}")


def strict_json(text: str) -> Any:
    """The value of a JSON text; ValueError for a key that stands twice, NaN, or what is no JSON."""
    return _DECODER.decode(text)


def _record(text: str, where: str, problem: Callable[[json.JSONDecodeError], Problem]) -> dict[str, Any]:
    try:
        value = strict_json(text)
    except json.JSONDecodeError as error:
        raise DataError(problem(error)) from None
    except (ValueError, RecursionError) as error:
        raise DataError(Problem(f"is no JSON: {str(error)[:120]}", where=where)) from None
    if not isinstance(value, dict):
        raise DataError(Problem(f'expected an object such as {{"text": ...}}, got {text.strip()[:40]}', where=where))
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return record


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
