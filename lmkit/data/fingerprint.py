"""What decides a cache's content: the source as declared, the very bytes of its files, the tokenizer, the format version."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmkit.data.files import Stop, Warn, find
from lmkit.data.huggingface import load_huggingface
from lmkit.data.sources import patterns
from lmkit.data.spec import AnySource, Builtin, HuggingFace
from lmkit.errors import DataError, Interrupted, Problem

WHOLE = 2**28  # bytes; a larger file is known by its size, its time and its two ends
END = 2**20


def contents(source: AnySource, base: Path, stop: Stop, warn: Warn) -> list[list[Any]]:
    """JSON-able facts that change when the source's data changes."""
    if isinstance(source, Builtin):
        return [["python", *sys.version_info[:3]]]
    if isinstance(source, HuggingFace):
        table = load_huggingface(source.huggingface, config=source.config, split=source.split, base=base)
        return [["datasets", str(table._fingerprint), len(table)]]
    return [_file(path, stop) for path in find(patterns(source), base, warn)]


def files_of(facts: list[list[Any]]) -> dict[str, str]:
    """The path of each file, and what changes when the file does."""
    return {entry[0]: fingerprint([entry[1:]]) for entry in facts if os.path.isabs(entry[0])}


def fingerprint(facts: list[list[Any]], **words: Any) -> str:
    return hashlib.sha256(json.dumps([facts, words], sort_keys=True, default=str).encode()).hexdigest()


def stamps(source: AnySource, base: Path) -> list[tuple[str, int, int]]:
    """Path, size and time of each file: cheap to compare before and after reading."""
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in find(patterns(source), base)]


def _file(path: Path, stop: Stop) -> list[Any]:
    status = path.stat()
    digest = hashlib.sha256()
    try:
        for chunk in _chunks(path, status.st_size):
            if stop():
                raise Interrupted("stopped while reading the data; nothing is lost")
            digest.update(chunk)
    except OSError as error:
        raise DataError(Problem(f"cannot be read: {error.strerror or error}", where=str(path))) from None
    return [os.path.abspath(path), status.st_size, status.st_mtime_ns if status.st_size > WHOLE else 0, digest.hexdigest()]


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        if size > WHOLE:
            yield file.read(END)
            file.seek(-END, os.SEEK_END)
        while chunk := file.read(2**22):
            yield chunk
