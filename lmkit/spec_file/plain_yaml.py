"""Writes plain values as YAML that `load` reads back the same; comments may stand beside values."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from lmkit.spec_file.scalars import scalar
from lmkit.spec_file.tree import Path

PLAIN = re.compile(r"[A-Za-z0-9/._][A-Za-z0-9/._*+%-]*( [A-Za-z0-9/._*+%-]+)*$")
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def to_yaml(value: dict[str, Any], comment: Callable[[Path], str] = lambda path: "") -> str:
    """Block style, lists of scalars on one line; `comment(path)` is written behind a value in a column of its own."""
    rows = list(_rows(value, (), ""))
    width = min(64, max((len(text) for text, _ in rows), default=0))
    lines = []
    for text, path in rows:
        note = comment(path) if path else ""
        lines.append(f"{text:<{width}}  # {note}" if note else text)
    return "\n".join(lines) + "\n"


def text_of(value: Any) -> str:
    """A scalar, or a list or mapping on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text_of(key)}: {text_of(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(text_of(entry) for entry in value) + "]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if not isinstance(value, str):
        return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    if PLAIN.match(value) and _reads_as_text(value):
        return value
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=False))


def _reads_as_text(value: str) -> bool:
    try:
        return isinstance(scalar(value), str)
    except ValueError:
        return False


def _rows(value: dict[str, Any], path: Path, indent: str) -> Iterator[tuple[str, Path]]:
    for key, entry in value.items():
        here = (*path, key)
        if isinstance(entry, dict) and entry:
            yield f"{indent}{text_of(key)}:", ()
            yield from _rows(entry, here, indent + "  ")
        elif isinstance(entry, list) and entry and all(isinstance(item, dict) and item for item in entry):
            yield f"{indent}{text_of(key)}:", ()
            for i, item in enumerate(entry):
                inner = list(_rows(item, (*here, i), indent + "    "))
                yield f"{indent}  - {inner[0][0].lstrip()}", inner[0][1]
                yield from inner[1:]
        else:
            yield f"{indent}{text_of(key)}: {text_of(entry)}", here
