"""Which foreign tensor is which variable of ours: a table's lines laid over the variables that a model has, both ways."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from lmkit.checkpoints.hub.table import INDEX, LEAVES, Row, Table

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Move:
    """One foreign tensor and the variables that it holds, fused along the output axis; `index` is its place where it is stacked."""

    key: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]  # widths of the variables along the fused axis
    shape: Shape  # of the foreign tensor
    row: Row
    kernel: bool  # of a projection: it has an input and an output axis
    heads: int
    index: int | None = None

    @property
    def axis(self) -> int:
        """The axis of the foreign tensor along which variables are fused."""
        return 1 if self.kernel and self.row.kind == "conv1d" else 0

    def ours(self, foreign: np.ndarray) -> list[np.ndarray]:
        """The variables' values, in the order of `names`."""
        values = _together(foreign, self.row.kind, self.kernel)
        parts = [values] if len(self.names) == 1 else self._split(values)
        return [part.T for part in parts] if self.kernel and self.row.kind == "lin" else parts

    def foreign(self, ours: Sequence[np.ndarray]) -> np.ndarray:
        """The foreign tensor of the variables' values: `ours` backwards."""
        parts = [part.T for part in ours] if self.kernel and self.row.kind == "lin" else list(ours)
        whole = parts[0] if len(parts) == 1 else self._join(parts)
        return whole.reshape(self.shape)

    def _split(self, values: np.ndarray) -> list[np.ndarray]:
        at = np.cumsum(self.sizes)[:-1]
        if not self.row.per_head:
            return np.split(values, at, axis=self.axis)
        rest = values.shape[1:]
        heads = values.reshape(self.heads, -1, *rest)
        return [part.reshape(-1, *rest) for part in np.split(heads, at // self.heads, axis=1)]

    def _join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        if not self.row.per_head:
            return np.concatenate(parts, axis=self.axis)
        rest = parts[0].shape[1:]
        return np.concatenate([part.reshape(self.heads, -1, *rest) for part in parts], axis=1).reshape(-1, *rest)


@dataclass(frozen=True)
class Plan:
    """All moves, and what is known of the keys of a file that no variable needs."""

    moves: tuple[Move, ...]
    aliases: Mapping[str, str]  # a second name -> the key of the same tensor
    kept: tuple[str, ...] = ()  # weights without a use here
    ignored: tuple[str, ...] = ()  # buffers without a meaning
    unknown: tuple[str, ...] = ()  # in the file, claimed by nothing
    missing: tuple[str, ...] = ()  # needed, and not in the file
    prefix: str = ""  # that the file has
    homeless: tuple[str, ...] = ()  # variables that no line of the table names


def make_plan(table: Table, shapes: Mapping[str, Shape], *, heads: int, width: int = 1, keys: Collection[str] | None = None) -> Plan:
    """Lays the table over the variables; with the `keys` of a file their spelling decides, else that which is written first.

    `heads` are those of attention, `width` that of each.
    """
    names = _Names(table, keys)
    fused: dict[str, dict[int, str]] = {}
    found: dict[str, tuple[Row, dict[str, str], str, int | None]] = {}
    homeless = []
    for name, shape in shapes.items():
        places = list(_places(table, name))
        if not places:
            homeless.append(name)
        for row, piece, indices, leaf in places[:1]:
            counts: Sequence[int | None] = range(shape[0]) if row.stacked else (None,)
            for count in counts:
                at = indices if count is None else {**indices, row.stacked: str(count)}
                key = names.of(row, at, LEAVES[row.kind][leaf][1])
                if fused.setdefault(key, {}).setdefault(piece, name) != name:
                    homeless.append(name)
                found[key] = (row, at, LEAVES[row.kind][leaf][0], count)
    moves = tuple(_move(key, [fused[key][i] for i in sorted(fused[key])], shapes, (heads, width), *found[key]) for key in fused)
    aliases = {alias: key for key, (row, at, _, _) in found.items() for alias in names.aliases(row, at)}
    if keys is None:
        return Plan(moves, {}, prefix=names.prefix, homeless=tuple(homeless))
    rest = [key for key in keys if key not in fused and key not in aliases]
    return Plan(
        moves,
        {alias: key for alias, key in aliases.items() if alias in keys and alias not in fused},
        kept=tuple(key for key in rest if names.matches(key, table.kept)),
        ignored=tuple(key for key in rest if names.matches(key, table.ignored)),
        unknown=tuple(key for key in rest if not names.matches(key, (*table.kept, *table.ignored))),
        missing=tuple(key for key in fused if key not in keys),
        prefix=names.prefix,
        homeless=tuple(homeless),
    )


def _places(table: Table, name: str) -> Iterator[tuple[Row, int, dict[str, str], int]]:
    """(row, which of its targets, the values of its indices, which of the kind's parts) for a variable's name."""
    for row in table.rows:
        for piece, target in enumerate(row.targets):
            for leaf, (ours, _) in enumerate(LEAVES[row.kind]):
                match = _pattern(f"{target}.{ours}" if ours else target).fullmatch(name)
                if match:
                    yield row, piece, match.groupdict(), leaf


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{([a-z])\\\}", r"(?P<\1>[0-9]+)", re.escape(name)))


class _Names:
    """How a file spells its keys: which prefix, which of the names of a part."""

    def __init__(self, table: Table, keys: Collection[str] | None) -> None:
        self.keys = None if keys is None else set(keys)
        self.prefix, self.joint = table.prefixes[0], table.joint
        if keys is not None:
            heads = {row.source.split("{")[0].split(".")[0] for row in table.rows if row.prefixed}
            fitting = {p: sum(key.startswith(p) and key[len(p) :].split(".")[0] in heads for key in keys) for p in table.prefixes}
            self.prefix = max(table.prefixes, key=lambda p: fitting[p])

    def of(self, row: Row, indices: Mapping[str, str], leaves: Sequence[str]) -> str:
        modules = [(self.prefix if row.prefixed else "") + row.source, *map(self._whole, row.others)]
        candidates = [_filled(f"{module}{self.joint}{leaf}" if leaf else module, indices) for module in modules for leaf in leaves]
        return next((key for key in candidates if self.keys is not None and key in self.keys), candidates[0])

    def aliases(self, row: Row, indices: Mapping[str, str]) -> list[str]:
        return [_filled(self._whole(alias), indices) for alias in row.aliases]

    def _whole(self, name: str) -> str:
        return name[1:] if name.startswith("/") else self.prefix + name

    def matches(self, key: str, patterns: Sequence[re.Pattern[str]]) -> bool:
        bare = key.removeprefix(self.prefix)
        return any(pattern.fullmatch(bare) for pattern in patterns)


def _filled(text: str, indices: Mapping[str, str]) -> str:
    return INDEX.sub(lambda found: _counted(found[1], indices[found[2]]) if found[2] in indices else found[0], text)


def _counted(mark: str, index: str) -> str:
    return index if not mark else "" if index == "0" else mark + index


def _together(foreign: np.ndarray, kind: str, kernel: bool) -> np.ndarray:
    """A tensor without the axes that the model has not."""
    match kind:
        case "row":
            return foreign.reshape(-1)
        case "split":
            return foreign.reshape(*foreign.shape[:-2], -1)
        case "merged" if kernel:
            return foreign.reshape(-1, foreign.shape[-1])
    return foreign


def _move(
    key: str,
    names: list[str],
    shapes: Mapping[str, Shape],
    of_heads: tuple[int, int],
    row: Row,
    at: dict[str, str],
    part: str,
    index: int | None,
) -> Move:
    heads, width = of_heads
    ours = [shapes[name][1:] if index is not None else shapes[name] for name in names]
    sizes = tuple(shape[-1] for shape in ours)
    kernel = part == "kernel"
    shape = (*ours[0][:-1], sum(sizes))
    if row.kind == "row":
        shape = (1, *shape)
    elif kernel and row.kind == "lin":
        shape = shape[::-1]
    elif row.kind == "split":
        shape = (*shape[:-1], shape[-1] // width, width)
    elif kernel and row.kind == "merged":
        shape = (shape[0] // width, width, shape[1])
    if row.per_head and any(size % heads for size in sizes):
        raise ValueError(f"{key} is fused by heads, but {sizes} are no multiples of {heads}")
    return Move(key, tuple(names), sizes, shape, row, kernel, heads, index)
