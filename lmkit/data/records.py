"""From a record's named fields to a document: every field that the spec names is there, of the right type, and says something."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace as with_
from typing import Any

from lmkit.data.conversations import read_conversation
from lmkit.data.document import Document
from lmkit.data.roles import SEPARATOR, conversational, near, read_roles
from lmkit.errors import DataError, Problem
from lmkit.text.units import cut


def to_documents(
    record: Mapping[str, Any],
    columns: Mapping[str, str],
    file: str,
    line: int,
    *,
    longest: int,
    split: bool,
    replace: bool,
    separator: str = SEPARATOR,
) -> Iterator[Document]:
    """One document, or with `split` several where the text is longer than `longest` bytes."""
    where = f"{file}:{line}"
    said = read_roles(record, columns, where, replace=replace, separator=separator)
    if conversational(columns):
        said |= read_conversation(record, columns, where, replace=replace)
    document = Document(**said, file=file, line=line)
    for role, text in (("text", document.text), ("text_pair", document.pair or ""), ("target", max(document.target or ("",), key=len))):
        if len(text) * 4 <= longest or len(text.encode()) <= longest:
            continue
        if not split:
            what = f"longer than max_record_bytes = {longest:,}; raise it, or set long_records: split"
            name = next(columns[key] for key in (role, "words", "messages", "response", "chosen") if key in columns)
            raise DataError(Problem(what, name, where))
        if role == "text" and not document.words and document.messages is None:
            for part in cut(text, max(1, longest // 4)):
                yield with_(document, text=part)
            return
    yield document


def check_columns(needed: Iterable[str], found: Iterable[str], where: str, hint: str = "") -> None:
    """Raises DataError where a table lacks a column that the spec names, or names one twice."""
    found = list(found)
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise DataError(Problem(f"column {repeated[0]!r} stands twice in the header ({', '.join(found)})", where=where))
    for name in needed:
        if name not in found:
            raise DataError(
                Problem(f"no column {name!r}; the columns are {', '.join(map(repr, found))}{hint or near(name, found)}", where=where)
            )
