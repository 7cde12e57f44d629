"""YAML text into a tree whose every value knows its line and column; strict, and the only file that imports yaml."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from lmkit.errors import Problem
from lmkit.spec_file.scalars import scalar
from lmkit.spec_file.tree import UNREADABLE, Node, Path, dotted

LOADER = getattr(yaml, "CLoader", yaml.SafeLoader)  # only its parser runs: events, no objects
DEEPEST = 32
TOO_DEEP = f"nested deeper than {DEEPEST} levels"
LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

NO_CHARACTER = re.compile("[\0\ud800-\udfff]")  # what an escape may not make

Place = Callable[[int, int], str]  # (line, column), both from 1 -> where


class Unreadable(Exception):
    """The text cannot be read any further."""

    def __init__(self, what: str, where: str, key: str = "") -> None:
        super().__init__(what)
        self.problem = Problem(what, key, where)


def in_file(name: str) -> Place:
    """Positions as `name:line:column`."""
    return lambda line, column: f"{name}:{line}:{column}"


def anywhere(where: str) -> Place:
    """One place for everything, such as a command-line argument."""
    return lambda line, column: where


def decode(raw: bytes, place: Place) -> str:
    """UTF-8 bytes to text, a byte order mark allowed; raises Unreadable with the byte offset of what is no text."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _position(raw[: error.start].decode("utf-8"))
        raise Unreadable(
            f"byte {error.start} (0x{raw[error.start]:02x}) is not UTF-8; save the file as UTF-8", place(line, column)
        ) from None
    skipped = text.startswith("\ufeff")
    text = text[1:] if skipped else text
    found = NOT_TEXT.search(text)
    if found:
        offset = len(text[: found.start()].encode()) + (3 if skipped else 0)
        code = ord(found.group())
        name = "NUL" if code == 0 else f"control character U+{code:04X}"
        raise Unreadable(f"{name} at byte {offset}; remove it", place(*_position(text[: found.start()])))
    return text


def parse(text: str, place: Place, problems: list[Problem], path: Path = ()) -> Node | None:
    """The one document in `text`, or None where it is empty. What is refused goes into `problems`; reading goes on behind it.

    Raises Unreadable at an error of syntax.
    """
    return _Reader(text, place, problems).document(path)


def _position(before: str) -> tuple[int, int]:
    lines = LINE_END.split(before)
    return len(lines), len(lines[-1]) + 1


class _Reader:
    """Builds nodes from parser events."""

    def __init__(self, text: str, place: Place, problems: list[Problem]) -> None:
        self.text = text
        self.place = place
        self.problems = problems
        self.open: list[Any] = []  # the mappings and lists around what is read
        self.last: Any = None
        self.events = self._parsed()

    def _parsed(self) -> Iterator[Any]:
        try:
            for event in yaml.parse(self.text, Loader=LOADER):
                if isinstance(event, yaml.CollectionStartEvent):
                    self.open.append(event)
                elif isinstance(event, yaml.CollectionEndEvent):
                    self.open.pop()
                self.last = event
                yield event
        except yaml.MarkedYAMLError as error:
            raise self._syntax(error) from None
        except yaml.YAMLError as error:
            raise Unreadable(f"not readable as YAML: {error}", self.place(1, 1)) from None

    def document(self, path: Path) -> Node | None:
        root = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._refuse("a second document begins here; a spec is one document, remove this line", event, ())
                    break
                root = self._node(self._next(), path, 0)
        empty = root is None or (root.value is None and not root.quoted)
        return None if empty else root

    def _next(self) -> Any:
        return next(self.events)

    def _line(self, event: Any) -> int:
        return int(event.start_mark.line) + 1

    def _at(self, event: Any) -> str:
        return self.place(event.start_mark.line + 1, event.start_mark.column + 1)

    def _refuse(self, what: str, event: Any, path: Path) -> None:
        self.problems.append(Problem(what, dotted(path), self._at(event)))

    def _node(self, event: Any, path: Path, depth: int) -> Node:
        node = self._untagged(event, path, depth)
        return Node(UNREADABLE, node.at) if path and getattr(event, "tag", None) is not None else node

    def _untagged(self, event: Any, path: Path, depth: int) -> Node:
        if depth > DEEPEST:
            raise Unreadable(TOO_DEEP, self._at(event), dotted(path[:3]) + "...")
        if isinstance(event, yaml.AliasEvent):
            self._refuse(f"anchors and aliases (*{event.anchor}) are not supported; write the value out, or use extends", event, path)
            return Node(UNREADABLE, self._at(event))
        if event.anchor is not None:
            self._refuse(f"anchors and aliases (&{event.anchor}) are not supported; write the value out, or use extends", event, path)
        if event.tag is not None:
            self._refuse(f"tags ({event.tag[:60]}) are not supported; remove it", event, path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(event, path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(inner := self._next(), yaml.SequenceEndEvent):
                items.append(self._node(inner, (*path, len(items)), depth + 1))
            return Node(items, self._at(event))
        return self._scalar(event, path)

    def _mapping(self, event: Any, path: Path, depth: int) -> Node:
        entries: dict[str, Node] = {}
        lines: dict[str, int] = {}
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                if isinstance(key, yaml.AliasEvent):
                    self._refuse(f"anchors and aliases (*{key.anchor}) are not supported; write the key out", key, path)
                else:
                    self._refuse("a key must be a word, not a list or mapping", key, path)
                    self._node(key, path, depth + 1)
                self._node(self._next(), path, depth + 1)
                continue
            here = (*path, key.value)
            if key.anchor is not None or key.tag is not None:
                self._refuse("anchors and tags are not supported; write the key alone", key, here)
            value = self._node(self._next(), here, depth + 1)
            value.key_at = self._at(key)
            line = self._line(key)
            if key.value == "<<" and not key.style:
                self._refuse("merge keys are not supported; write the keys out, or use extends", key, path)
            elif not key.value:
                self._refuse("a key is empty; write a word before the colon", key, path)
            elif key.value in entries:
                self._refuse(f"given twice, on line {lines[key.value]} and on line {line}; keep one", key, here)
            else:
                entries[key.value] = value
                lines[key.value] = line
        return Node(entries, self._at(event))

    def _scalar(self, event: Any, path: Path) -> Node:
        quoted = bool(event.style)
        value: Any = event.value
        if not quoted:
            try:
                value = scalar(event.value)
            except ValueError as error:
                self._refuse(str(error), event, path)
                value = UNREADABLE
        elif found := NO_CHARACTER.search(value):
            offset = len(self.text[: event.start_mark.index].encode())
            self._refuse(f"the text at byte {offset} holds U+{ord(found.group()):04X}, which is no character; remove it", event, path)
            value = UNREADABLE
        return Node(value, self._at(event), quoted=quoted)

    def _syntax(self, error: Any) -> Unreadable:
        lines = LINE_END.split(self.text)
        what, mark = explain(error, lines)
        opened: Any = self.open[-1] if self.open else None
        text: Any = self.last if isinstance(self.last, yaml.ScalarEvent) and self.last.style else None  # in quotes
        begin, end = (text.start_mark.line + 1, text.end_mark.line + 1) if text is not None else (0, 0)
        if begin < end:
            what += f"; a quote that opens on line {begin} ends on line {end}"
        elif opened is not None and opened.flow_style and what.startswith("not readable"):
            what = f"the bracket opened on line {opened.start_mark.line + 1} is not closed"
            mark = mark if mark.line < len(lines) and lines[mark.line].strip() else opened.start_mark
        if "invalid Unicode" in what:
            what += f" (byte {len(self.text[: error.problem_mark.index].encode())})"
        line = lines[mark.line] if mark.line < len(lines) else ""
        start = max(0, mark.column - 60)
        shown = line[start : start + 100].replace("\t", " ")
        return Unreadable(f"{what}\n  | {shown}\n  | {' ' * (mark.column - start)}^", self.place(mark.line + 1, mark.column + 1))


class _Mark:
    """A line and a column, both from 0."""

    def __init__(self, line: int, column: int) -> None:
        self.line, self.column = line, column


def explain(error: Any, lines: list[str]) -> tuple[str, Any]:
    """The parser's complaint in a user's words, and the mark where the eye should go."""
    mark = error.problem_mark or error.context_mark or _Mark(0, 0)
    opened = error.context_mark or mark
    problem, context = error.problem or "", error.context or ""
    near = lines[mark.line] if mark.line < len(lines) else ""
    indent = near[: len(near) - len(near.lstrip())]
    if "\t" in indent:
        return "a tab in the indentation; use spaces", _Mark(mark.line, indent.index("\t"))
    if "end of stream" in problem or "document indicator" in problem:
        return "a quote that is never closed opens here", opened
    if "expected ':'" in problem:
        return "a colon is missing; write key: value", opened
    above = next((i for i in range(mark.line - 1, -1, -1) if lines[i].strip() and not lines[i].lstrip().startswith("#")), 0)
    if "mapping values are not allowed" in problem and mark.line and ":" not in lines[above] and not lines[above].lstrip().startswith("-"):
        return "a colon is missing; write key: value", _Mark(above, len(lines[above]) - len(lines[above].lstrip()))
    if "mapping values are not allowed" in problem:
        return "a colon is not possible here: the line above lacks its colon or is indented differently, or the text needs quotes", mark
    if "',' or" in problem:
        return f"the bracket opened on line {opened.line + 1} is not closed before this; add {problem[-3:]}", mark
    if "expected key" in problem or "'-' indicator" in problem:
        return "this fits neither the indentation nor the list or text before it; line it up with the keys of its section", mark
    if "cannot start any token" in problem:
        character = near[mark.column : mark.column + 1]
        return f"text cannot begin with {character}; put it in quotes", mark
    if "nesting depth" in problem:  # libyaml looks ahead and meets its own limit before ours
        return TOO_DEEP, mark
    if "invalid Unicode" in problem:
        return "an escape of an invalid Unicode character; write the character itself", mark
    if "escape" in problem:
        return "a \\ escape that is no character; write \\\\ for a backslash, or use single quotes", mark
    if "anchor" in context or "alias" in context:
        return "anchors and aliases are not supported; put text that begins with & or * in quotes", opened
    return f"not readable as YAML: {problem or context}", mark
