"""Where a location of pydantic's, with its tags and made-up names, stands in the data that the user wrote."""

from collections.abc import Iterator
from typing import Any

from lmkit.spec import Amount, Spec, attribute
from lmkit.spec_file import words
from lmkit.spec_file.tree import Path


def objects(spec: Spec, path: Path = ()) -> Iterator[tuple[Path, Spec]]:
    """The spec and every branch in it, each with its path in keys, names and indexes."""
    yield path, spec
    for key in words.fields(type(spec)):
        value = getattr(spec, attribute(key))
        parts: list[tuple[Path, Any]] = [((key,), value)]
        if isinstance(value, dict):
            parts = [((key, name), entry) for name, entry in value.items()]
        elif isinstance(value, tuple):
            parts = [((key, i), entry) for i, entry in enumerate(value)]
        for part, entry in parts:
            if isinstance(entry, Spec) and not isinstance(entry, Amount):
                yield from objects(entry, path + part)


def step(data: Any, part: str | int) -> bool:
    """Whether one part of a location is a step in the data (and no tag, index of a lone item, or name of a lone source)."""
    if isinstance(data, dict):
        return isinstance(part, str) and part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def locate(location: Path, data: Any) -> Path:
    """The path in the data that a location of pydantic's means: the longest one that every `<key>` tag on the way agrees with."""
    return _located(location, data)[1]


def _located(location: Path, data: Any) -> tuple[int, Path]:
    """How many tags disagree, and the path."""
    if not location:
        return 0, ()
    part, rest = location[0], location[1:]
    wrong = isinstance(part, str) and part[:1] == "<" and not (isinstance(data, dict) and part[1:-1] in data)
    skipped, path = _located(rest, data)
    ways = [(skipped + wrong, path)]
    if step(data, part):
        stepped, path = _located(rest, data[part])
        ways.append((stepped, (part, *path)))
    return min(ways, key=lambda way: (way[0], -len(way[1])))


def at(data: Any, path: Path) -> Any:
    """The value at a path that is there."""
    for part in path:
        data = data[part]
    return data
