"""From a record's named fields to a document: every field that the spec names is there, of the right type, and says something."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmkit.data.document import Document
from lmkit.errors import DataError, Problem
from lmkit.text.units import cut


def to_documents(
    record: Mapping[str, Any], columns: Mapping[str, str], file: str, line: int, *, longest: int, split: bool, replace: bool
) -> Iterator[Document]:
    """One document, or with `split` several where the text is longer than `longest` bytes."""
    where = f"{file}:{line}"
    texts: dict[str, str] = {}
    for role in ("text", "text_pair"):
        if role in columns:
            texts[role] = _text(_field(record, columns[role], where), columns[role], where, replace)
    label = _label(_field(record, columns["label"], where), columns["label"], where) if "label" in columns else None
    pair = texts.get("text_pair")
    for role, text in texts.items():
        if len(text) * 4 <= longest or len(text.encode()) <= longest:
            continue
        if not split:
            what = f"longer than max_record_bytes = {longest:,}; raise it, or set long_records: split"
            raise DataError(Problem(what, columns[role], where))
        if role == "text":
            for part in cut(text, max(1, longest // 4)):
                yield Document(part, pair, label, file, line)
            return
    yield Document(texts["text"], pair, label, file, line)


def check_columns(needed: Iterable[str], found: Iterable[str], where: str, hint: str = "") -> None:
    """Raises DataError where a table lacks a column that the spec names, or names one twice."""
    found = list(found)
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise DataError(Problem(f"column {repeated[0]!r} stands twice in the header ({', '.join(found)})", where=where))
    for name in needed:
        if name not in found:
            raise DataError(
                Problem(f"no column {name!r}; the columns are {', '.join(map(repr, found))}{hint or _near(name, found)}", where=where)
            )


def _near(name: str, found: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(found), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _field(record: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in record:
        found = ", ".join(map(repr, list(record)[:12])) or "none"
        raise DataError(Problem(f"field is missing; the record has {found}{_near(name, record)}", name, where))
    if record[name] is None:
        raise DataError(Problem("field is null; remove the record or give it a value", name, where))
    return record[name]


def _text(value: Any, name: str, where: str, replace: bool) -> str:
    if not isinstance(value, str):
        raise DataError(Problem(f"expected text, got {_kind(value)}", name, where))
    if "\0" in value:
        if not replace:
            raise DataError(Problem("holds a NUL character (encoding_errors: replace lets it pass)", name, where))
        value = value.replace("\0", "�")
    try:
        value.encode()
    except UnicodeEncodeError:
        if not replace:
            raise DataError(Problem("holds half of a surrogate pair (encoding_errors: replace lets it pass)", name, where)) from None
        value = value.encode("utf-8", "replace").decode()
    return value


def _label(value: Any, name: str, where: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise DataError(Problem(f"expected a label (text or a whole number), got {_kind(value)}", name, where))
    label = _text(value, name, where, replace=False).strip()
    if not label:
        raise DataError(Problem("the label is empty; label the record or remove it", name, where))
    return label


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return f"the number {value}"
    return "a list" if isinstance(value, list | tuple) else "an object" if isinstance(value, dict) else type(value).__name__
