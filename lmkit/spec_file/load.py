"""From a spec file and command-line overrides to a RunSpec, or every problem at once with its place and its fix."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from lmkit.data.spec import LONE
from lmkit.errors import Problem, SpecError
from lmkit.spec_file import yaml_text
from lmkit.spec_file.custom import with_code
from lmkit.spec_file.declared import with_declared
from lmkit.spec_file.origins import origins
from lmkit.spec_file.plain_yaml import to_yaml
from lmkit.spec_file.resolve import resolve, words_of
from lmkit.spec_file.secrets import hidden, secrets
from lmkit.spec_file.size import size_problem
from lmkit.spec_file.spec import RunSpec
from lmkit.spec_file.tree import Node, Path, child, dotted, merge, plain
from lmkit.spec_file.validate import parsed, validate

MOST_BYTES = 2**20
MOST_PROBLEMS = 20
LONGEST_CHAIN = 16  # files that extend one another


@dataclass(frozen=True)
class Loaded:
    """A valid spec, resolved: nothing is left open that its own words decide."""

    spec: RunSpec
    origins: dict[Path, str]  # path in `words_of(spec)` -> `file:line:column`, `command line argument N`, or `default: rule`
    text: str  # the spec file as written
    warnings: tuple[Problem, ...] = field(default=())

    @property
    def derived(self) -> set[str]:
        """The keys whose values follow from others."""
        return {dotted(path) for path, origin in self.origins.items() if origin.startswith("default:")}

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Gives what is found wrong with a key within the block the place where the key was written, and the key as it was."""
        try:
            yield
        except SpecError as error:
            raise SpecError(*(p if p.where else self._placed(p) for p in error.problems)) from None

    def _placed(self, problem: Problem) -> Problem:
        lone = list(self.spec.data.train) == [LONE]
        key = problem.key.replace(f"data.train.{LONE}.", "data.train.") if lone else problem.key
        return replace(problem, key=key, where=self._place(problem.key))

    def _place(self, key: str) -> str:
        """Where a key was written; of an entry of a list, where the list was."""
        path = tuple(key.split("."))
        origin = self.origins.get(path) or self.origins.get(path[:-1], "")
        return "" if origin.startswith("default") else origin.partition(" (")[0]


def load(path: str | os.PathLike[str], overrides: Sequence[str] = (), *, strict: bool = False) -> Loaded:
    """Reads a spec with its `extends` chain, lays `a.b=value` overrides on it and validates the result.

    Raises SpecError with all problems, at most 20; with `strict`, warnings are problems too.
    """
    problems: list[Problem] = []
    try:
        tree, text = _file(os.fspath(path), problems, ())
        tree = _override(tree, overrides, problems)
        tree = with_declared(tree, lambda other: _file(other, problems, ())[0], problems, (os.path.realpath(path),))
    except yaml_text.Unreadable as error:
        raise SpecError(*map(hidden, (*problems[: MOST_PROBLEMS - 1], error.problem))) from None
    problems += secrets(tree, text, os.fspath(path))
    spec, found, warnings = validate(tree)
    problems += found + (warnings if strict else [])
    if problems or spec is None:
        raise SpecError(*map(hidden, _in_order(problems)[:MOST_PROBLEMS]))
    spec, checksums = with_code(spec, tree)
    resolved, rules = resolve(spec)
    if too_large := size_problem(resolved, tree):
        raise SpecError(too_large)
    return Loaded(resolved, origins(resolved, tree, rules | checksums), text, tuple(warnings))


def plain_words(text: str) -> dict[str, Any]:
    """The mapping in a YAML text such as `resolved.yaml`; raises ValueError where it is none."""
    problems: list[Problem] = []
    try:
        tree = yaml_text.parse(text, yaml_text.anywhere(""), problems)
    except yaml_text.Unreadable as error:
        raise ValueError(error.problem.what) from None
    if problems or tree is None or not isinstance(tree.value, dict):
        raise ValueError(problems[0].what if problems else "no mapping")
    found: dict[str, Any] = plain(tree)
    return found


def whole_words(text: str) -> dict[str, Any]:
    """The words of a `resolved.yaml`, with today's defaults for keys that were unknown when it was written.

    Raises ValueError where it is no mapping; the words of no valid spec are given as they are.
    """
    words = plain_words(text)
    with suppress(ValueError):
        return words_of(resolve(parsed(words), absolute=False)[0])
    return words


def resolved_text(spec: RunSpec) -> str:
    """The text of `resolved.yaml`: `load` reads it back as an equal spec."""
    return to_yaml(words_of(spec))


def read_bytes(path: str) -> bytes:
    """A spec file's bytes; raises SpecError where it is absent, no regular file, or too large, without reading it."""
    try:
        facts = os.stat(path)
        if stat.S_ISDIR(facts.st_mode):
            raise SpecError(Problem(f"is a folder; name the spec file in it{_nearby(path)}", where=path))
        if not stat.S_ISREG(facts.st_mode):
            raise SpecError(Problem("is no regular file; a spec is a YAML file", where=path))
        if facts.st_size > MOST_BYTES:
            raise SpecError(Problem(f"is {facts.st_size:,} bytes; a spec has at most {MOST_BYTES:,}", where=path))
        with open(path, "rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        near = _nearby(os.path.dirname(path)) if isinstance(error, FileNotFoundError) else ""
        raise SpecError(Problem(f"cannot be read: {(error.strerror or str(error)).lower()}{near}", where=path)) from None
    except ValueError:
        raise SpecError(Problem("is no file name", where=repr(path))) from None


def _nearby(folder: str) -> str:
    try:
        found = sorted(name for name in os.listdir(folder or ".") if name.endswith((".yaml", ".yml")))
    except OSError:
        return ""
    return f"; YAML files there: {', '.join(found[:8])}" + (", ..." if len(found) > 8 else "") if found else ""


def _file(path: str, problems: list[Problem], chain: tuple[str, ...]) -> tuple[Node, str]:
    """The tree of a file on top of what it extends, and the file's text."""
    place = yaml_text.in_file(path)
    raw = read_bytes(path)
    text = yaml_text.decode(raw, place)
    tree = yaml_text.parse(text, place, problems)
    if tree is None:
        raise yaml_text.Unreadable("the spec is empty; `lmkit init` writes a start", place(1, 1))
    if not isinstance(tree.value, dict):
        kind = "a list" if isinstance(tree.value, list) else "a single value"
        raise yaml_text.Unreadable(f"a spec is a mapping (name: ..., data: ...), but this is {kind}", place(1, 1))
    named = tree.value.pop("extends", None)
    if named is None:
        return tree, text
    if not isinstance(named.value, str):
        problems.append(Problem("expected the path of one file", "extends", named.at))
        return tree, text
    target = os.path.normpath(os.path.join(os.path.dirname(path), os.path.expanduser(named.value)))
    here = (*chain, os.path.realpath(path))
    if os.path.realpath(target) in here or len(here) > LONGEST_CHAIN:
        what = "comes back to itself" if os.path.realpath(target) in here else f"is longer than {LONGEST_CHAIN} files"
        problems.append(Problem(f"{named.value}: the chain of extends {what}", "extends", named.at))
        return tree, text
    try:
        base, _ = _file(target, problems, here)
    except SpecError as error:
        raise SpecError(*(Problem(f"{p.where} {p.what}", "extends", named.at) for p in error.problems)) from None
    return merge(base, tree), text


def _override(tree: Node, overrides: Sequence[str], problems: list[Problem]) -> Node:
    """Lays `a.b=value` arguments over the tree in their order."""
    for number, argument in enumerate(overrides, 1):
        at = f"command line argument {number}"
        path, sign, text = argument.partition("=")
        keys = tuple(path.strip().split("."))
        if not sign or not all(keys):
            problems.append(Problem(f'"{argument}" is no override; write key.path=value', where=at))
            continue
        if not text.strip():
            problems.append(Problem("no value after =; write null to go back to the default", path, at))
            continue
        try:
            place = yaml_text.anywhere(at)
            node = yaml_text.parse(yaml_text.decode(text.encode(errors="surrogateescape"), place), place, problems, keys)
        except yaml_text.Unreadable as error:
            what = error.problem.what.split("\n")[0]
            raise yaml_text.Unreadable(f"{text}: {what}", at, path) from None
        node = node or Node(None, at)
        node.key_at = at
        problem = _blocked(tree, keys)
        if problem:
            problems.append(Problem(problem, path, at))
            continue
        for key in reversed(keys):
            node = Node({key: node}, at, at)
        node.at, node.key_at = tree.at, tree.key_at
        tree = merge(tree, node)
    return tree


def _blocked(tree: Node, keys: tuple[str, ...]) -> str:
    """Why an override cannot reach its key: a list is entered by an index that it has."""
    node: Node | None = tree
    for i, key in enumerate(keys):
        if node is not None and isinstance(node.value, list) and not (key.isdigit() and int(key) < len(node.value)):
            return f"{'.'.join(keys[:i])} is a list of {len(node.value)}; write its index instead of {key}, or the whole list"
        node = child(node, int(key) if isinstance(node.value, list) else key) if node is not None else None
    return ""


def _in_order(problems: list[Problem]) -> list[Problem]:
    """By line and column within a file, files and arguments in the order of their first problem."""
    origins: dict[str, int] = {}

    def rank(problem: Problem) -> tuple[int, int, int]:
        origin, line, column = problem.where, "0", "0"
        parts = problem.where.rsplit(":", 2)
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            origin, line, column = parts
        return origins.setdefault(origin, len(origins)), int(line), int(column)

    return sorted(dict.fromkeys(problems), key=rank)
