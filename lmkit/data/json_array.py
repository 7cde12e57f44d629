"""The objects of a file that is one JSON array, one after the other, so that a file of any size passes through."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lmkit.data.files import Stop, lines, opened
from lmkit.errors import DataError, Problem

MARKS = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
FIRST, NEXT, COMMA = "an object or ]", "an object", "a comma or ]"  # what may stand between objects


def is_array(path: Path) -> bool:
    """Whether the first character that is no blank opens an array."""
    with opened(path) as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def read_array(path: Path, *, errors: Literal["fail", "replace"], longest: int, stop: Stop) -> Iterator[tuple[int, str]]:
    """(line, text) of each object, which begins there; the text is balanced in its brackets and otherwise not checked.

    Raises DataError where something else stands between them, one has more than `longest` bytes, or the array does not end.
    """
    scan = _Scanner(path, longest)
    number = 1
    for number, text in lines(path, errors=errors, longest=longest, split=True, stop=stop):
        yield from scan.feed(number, text)
    if scan.depth:
        raise DataError(Problem("the object that begins here does not end; is the file cut off?", where=f"{path}:{scan.line}"))
    if scan.wanted:
        raise DataError(Problem(f"the array does not end: expected {scan.wanted}; is the file cut off?", where=f"{path}:{number}"))


class _Scanner:
    """Follows brackets and quotes from one piece of a file to the next."""

    def __init__(self, path: Path, longest: int) -> None:
        self.path, self.longest = path, longest
        self.wanted = "["  # empty behind the end of the array
        self.held: list[str] = []  # the pieces of an object that is not whole yet
        self.size = self.depth = self.line = 0
        self.quoted = self.escaped = False

    def feed(self, number: int, text: str) -> Iterator[tuple[int, str]]:
        at = 0
        while at < len(text):
            if not self.depth:
                at = self._between(number, text, at)
                continue
            end = self._end(text, at)
            if self.quoted and text.endswith("\n"):
                raise DataError(Problem("is no JSON: a text does not end on its line", where=f"{self.path}:{number}"))
            self.held.append(text[at:end])
            self.size += len(text[at:end].encode())
            if self.size > self.longest:
                what = f"longer than max_record_bytes = {self.longest:,}; raise it, or set long_records: split"
                raise DataError(Problem(what, where=f"{self.path}:{self.line}"))
            at = end
            if not self.depth:
                yield self.line, "".join(self.held)
                self.held, self.size, self.wanted = [], 0, COMMA

    def _between(self, number: int, text: str, at: int) -> int:
        """The place behind the next character that is no blank, or of an object's beginning."""
        blank = len(text) - len(text[at:].lstrip(" \t\r\n"))
        if blank == len(text):
            return blank
        found = text[blank]
        if found == "{" and self.wanted in (FIRST, NEXT):
            self.depth, self.line = 1, number
            self.held, self.size = ["{"], 1
        elif found == "[" and self.wanted == "[":
            self.wanted = FIRST
        elif found == "," and self.wanted == COMMA:
            self.wanted = NEXT
        elif found == "]" and self.wanted in (FIRST, COMMA):
            self.wanted = ""
        else:
            what = f"expected {self.wanted or 'nothing behind the array'}, got {text[blank : blank + 40].strip()}"
            raise DataError(Problem(what, where=f"{self.path}:{number}:{blank + 1}"))
        return blank + 1

    def _end(self, text: str, at: int) -> int:
        """The place behind the object that is open, or behind the text where it goes on."""
        if self.escaped:
            self.escaped, at = False, at + 1
        for mark in MARKS.finditer(text, at):
            sign = mark.group()
            if sign == '"':
                self.quoted = not self.quoted
            elif not self.quoted and sign in "{[":
                self.depth += 1
            elif not self.quoted and sign in "}]":
                self.depth -= 1
                if not self.depth:
                    return mark.end()
        self.escaped = (len(text) - len(text.rstrip("\\"))) % 2 == 1
        return len(text)
