"""Rows of CSV (RFC 4180: header, double quotes) and TSV (header, no quoting), read strictly so that no row is lost or merged."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from lmkit.data.files import SPLIT_LIMIT, Stop, each_line, sound, tried
from lmkit.data.records import check_columns
from lmkit.errors import DataError, Problem


def read_separated(
    path: Path,
    *,
    delimiter: str,
    quoted: bool,
    needed: Sequence[str],
    errors: Literal["fail", "replace"],
    longest: int,
    split: bool,
    stop: Stop,
) -> Iterator[tuple[int, dict[str, str] | DataError]]:
    """(line where it begins, fields by name) of each row after the header; blank lines are passed over.

    A row that cannot be read is an error in its place. Raises DataError where no rows can be told.
    """
    longest = max(longest, SPLIT_LIMIT) if split else longest
    numbered = each_line(path, errors=errors, longest=longest, stop=stop)
    records = _quoted(path, numbered, delimiter, longest) if quoted else _plain(numbered, delimiter)
    start = next(records, None)
    if start is None:
        raise DataError(Problem("has no header line", where=str(path)))
    number, header = start[0], sound(start[1])
    check_columns(needed, header, f"{path}:{number}", _other_delimiter(header, delimiter, quoted))
    for number, fields in records:
        yield number, fields if isinstance(fields, DataError) else tried(_named, fields, header, quoted, f"{path}:{number}")


def _named(fields: list[str], header: list[str], quoted: bool, where: str) -> dict[str, str]:
    if len(fields) != len(header):
        what = f"{len(fields)} field{'s' * (len(fields) > 1)} where the header has {len(header)} ({', '.join(header)})"
        raise DataError(Problem(what + (_QUOTE_HINT if quoted and len(fields) > len(header) else ""), where=where))
    if fields == header:
        raise DataError(Problem("the header stands here a second time; remove this line", where=where))
    return dict(zip(header, fields, strict=True))


Numbered = Iterator[tuple[int, str | DataError]]
Records = Iterator[tuple[int, list[str] | DataError]]
_QUOTE_HINT = "; put fields that hold the delimiter in double quotes"


def _other_delimiter(header: Sequence[str], delimiter: str, quoted: bool) -> str:
    if len(header) > 1:
        return ""
    other = next((d for d in ",;\t|" if d != delimiter and d in header[0]), None)
    if other is None:
        return ""
    return f"; fields seem to be separated by {other!r}, " + (f"set delimiter: {other!r}" if quoted else "read it as csv")


def _plain(numbered: Numbered, delimiter: str) -> Records:
    for number, text in numbered:
        if isinstance(text, DataError):
            yield number, text
        elif not text.isspace() or delimiter in text:
            yield number, text.removesuffix("\n").split(delimiter)


def _quoted(path: Path, numbered: Numbered, delimiter: str, longest: int) -> Records:
    """A line that cannot be read within quotes leaves open where its row ends, so it is raised."""
    held, first, odd = "", 0, False
    for number, line in numbered:
        if isinstance(line, DataError) and not odd:
            yield number, line
            continue
        text = sound(line)
        if not odd and '"' not in text:
            if not text.isspace() or (delimiter in text and delimiter.isspace()):
                yield number, text.removesuffix("\n").split(delimiter)
            continue
        if not odd:
            held, first = "", number
        held += text
        odd ^= text.count('"') % 2 == 1
        if odd:
            if len(held) > longest:
                break
            continue
        yield first, tried(_fields, held.removesuffix("\n"), delimiter, f"{path}:{first}")
    if odd:
        raise DataError(Problem("a quote that opens in this row is never closed", where=f"{path}:{first}"))


@lru_cache(maxsize=8)
def _field_pattern(delimiter: str) -> re.Pattern[str]:
    d = re.escape(delimiter)
    return re.compile(rf'(?:"((?:[^"]|"")*+)"|([^"{d}]*+))(?:{d}|\Z)')


def _fields(record: str, delimiter: str, where: str) -> list[str]:
    """The fields of one record; RFC 4180 lets a quote stand only around a field, or doubled inside such a field."""
    pattern = _field_pattern(delimiter)
    fields: list[str] = []
    at = 0
    while True:
        found = pattern.match(record, at)
        if found is None:
            what = f"field {len(fields) + 1}: a quote inside a field must be doubled and the field put in quotes"
            raise DataError(Problem(what, where=where))
        fields.append(found[2] if found[1] is None else found[1].replace('""', '"'))
        at = found.end()
        if at == len(record) and not (record and found[0].endswith(delimiter)):
            return fields
