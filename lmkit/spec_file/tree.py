"""The spec as a tree of values that each know where they were written; merging for `extends` and command-line overrides."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from lmkit.data.spec import SOURCE_KEYS

Path = tuple[str | int, ...]

UNREADABLE = object()  # the value of a node whose text was refused

# Keys that choose a variant by being there: a layer that names another of them replaces the variant instead of merging into it.
CHOSEN_BY_KEY = ("from", *SOURCE_KEYS)
CHOOSERS = ("kind", *CHOSEN_BY_KEY)


@dataclass(slots=True)
class Node:
    """A mapping, a list or a scalar; `at` is where it stands, `key_at` where its key does (`file:line:column` or a phrase).

    `nulls` says of each key that a null took out of a mapping where that stands.
    """

    value: Any  # dict[str, Node] | list[Node] | None | bool | int | float | str
    at: str
    key_at: str = ""
    quoted: bool = False
    nulls: dict[str, str] = field(default_factory=dict)

    @property
    def section_at(self) -> str:
        """Where the mapping begins for a reader: its key, or itself at the top and in lists."""
        return self.key_at or self.at


def plain(node: Node) -> Any:
    """The values alone."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def dotted(path: Path) -> str:
    """`("position", 1)` -> `position.1`."""
    return ".".join(map(str, path))


def child(node: Node, part: str | int) -> Node | None:
    """The entry of a mapping or list, or None."""
    if isinstance(node.value, dict) and isinstance(part, str):
        return node.value.get(part)
    if isinstance(node.value, list) and isinstance(part, int) and 0 <= part < len(node.value):
        return node.value[part]
    return None


def leaves(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every scalar with its path."""
    if isinstance(node.value, dict):
        for key, entry in node.value.items():
            yield from leaves(entry, (*path, key))
    elif isinstance(node.value, list):
        for i, entry in enumerate(node.value):
            yield from leaves(entry, (*path, i))
    else:
        yield path, node


def merge(base: Node, over: Node) -> Node:
    """`over` laid on `base`: mappings merge, everything else is replaced, null takes the key away (back to its default).

    A mapping that chooses another variant (`kind`, another kind of source, named sources over one) replaces the old one. A mapping
    without `kind` over a scalar extends its long form: `{base: 5e5}` over `rotary` is `{kind: rotary, base: 5e5}`.
    """
    if isinstance(base.value, str) and isinstance(over.value, dict) and not any(key in over.value for key in CHOOSERS):
        base = Node({"kind": Node(base.value, base.at, base.at)}, base.at, base.key_at)
    if isinstance(base.value, list) and isinstance(over.value, dict):
        return _into_list(base, over)
    if not isinstance(base.value, dict) or not isinstance(over.value, dict) or _another_variant(base, over):
        return without_nulls(over)
    merged, nulls = dict(base.value), {**base.nulls, **_nulls(over)}
    for key, entry in over.value.items():
        if entry.value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged[key], entry) if key in merged else without_nulls(entry)
    return Node(merged, over.at, over.key_at, nulls={key: at for key, at in nulls.items() if key not in merged})


def without_nulls(node: Node) -> Node:
    """Takes the keys whose value is null out of a mapping and the mappings in it."""
    if not isinstance(node.value, dict):
        return node
    kept = {key: without_nulls(entry) for key, entry in node.value.items() if entry.value is not None}
    return Node(kept, node.at, node.key_at, nulls=_nulls(node))


def _nulls(node: Node) -> dict[str, str]:
    return {**node.nulls, **{key: entry.at for key, entry in node.value.items() if entry.value is None}}


def _another_variant(base: Node, over: Node) -> bool:
    if (_is_one(base) and _are_named(over)) or (_are_named(base) and _is_one(over)):
        return True
    chosen = {key for key in CHOOSERS if key in over.value}
    before = {key for key in CHOOSERS if key in base.value}
    if not chosen or not before:
        return False
    return not chosen & before or ("kind" in chosen & before and base.value["kind"].value != over.value["kind"].value)


def _is_one(node: Node) -> bool:
    """Whether a mapping says what one source of data is."""
    return any(key in SOURCE_KEYS and not isinstance(entry.value, dict) for key, entry in node.value.items() if entry.value is not None)


def _are_named(node: Node) -> bool:
    """Whether a mapping says what several sources are, and not how the columns of one are called."""
    kept = {key: entry for key, entry in node.value.items() if entry.value is not None}
    known = all(isinstance(entry.value, dict) and _is_one(entry) for entry in kept.values())
    return bool(kept) and known and not get_close_matches("columns", kept)


def _into_list(base: Node, over: Node) -> Node:
    """`position.1.base=5` reaches into a list; any other mapping replaces it."""
    items = list(base.value)
    if not over.value or not all(key.isdigit() and int(key) < len(items) for key in over.value):
        return without_nulls(over)
    for key, entry in over.value.items():
        items[int(key)] = merge(items[int(key)], entry)
    return Node(items, base.at, base.key_at)
