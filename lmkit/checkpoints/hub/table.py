"""A weight table: one line for each module, `<foreign module> = <canonical module> kind [flags]`, read the same way in both directions.

`{i}` (any one letter) is an index that both sides share (`{_i}` on the left: nothing, `_1`, `_2`, as Keras counts layers of a kind);
an index of the left side alone (`{e}`) counts what is stacked along the first axis of the right. `(a|b)` on both sides stands for
several lines, `{a,b}` on the right for modules that are fused into one tensor. A left side that begins with `/` takes no prefix. Kinds
say where the parts of a module lie:

    lin      kernel [in, out] <- weight [out, in], bias           conv1d   kernel <- weight as it is, bias
    norm     scale <- weight or gamma, bias <- bias or beta       emb      embedding <- weight
    raw      one variable <- one tensor, by their full names      row      one variable [n] <- one tensor [1, n]

A kernel of more than two axes has them all backwards in `lin`. And for Keras, which numbers the variables of a layer:

    dense    kernel <- 0 as it is, bias <- 1                      affine   scale <- 0, bias <- 1
    split    as dense, the outputs apart as [heads, width]        merged   as dense, the inputs apart as [heads, width]
    rows     embedding <- 0

Flags: `fuse:concat` (one behind the other, which is also the default) or `fuse:per_head` (for each head its part of each), `alias:KEY`
(a second name of the same tensor; `KEY` stands as the tensor is called in the file), `or:MODULE` (what a file may have in its place).
Lines with a colon instead of an equals sign: `prefix: a. |` (accepted, the first one is written), `joint: /vars/` (between a module
and its parts, in place of a dot), `ignore: REGEX` (buffers that mean nothing), `keep: REGEX` (weights that the model has no use for;
they are kept for export).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

LEAVES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "lin": (("kernel", ("weight",)), ("bias", ("bias",))),
    "conv1d": (("kernel", ("weight",)), ("bias", ("bias",))),
    "norm": (("scale", ("weight", "gamma")), ("bias", ("bias", "beta"))),
    "emb": (("embedding", ("weight",)),),
    "raw": (("", ("",)),),
    "row": (("", ("",)),),
    "dense": (("kernel", ("0",)), ("bias", ("1",))),
    "split": (("kernel", ("0",)), ("bias", ("1",))),
    "merged": (("kernel", ("0",)), ("bias", ("1",))),
    "affine": (("scale", ("0",)), ("bias", ("1",))),
    "rows": (("embedding", ("0",)),),
}
INDEX = re.compile(r"\{(_?)([a-z])\}")


@dataclass(frozen=True)
class Row:
    """One line: `source` the foreign module, `targets` the canonical modules fused in it."""

    source: str
    targets: tuple[str, ...]
    kind: str
    prefixed: bool
    per_head: bool = False
    aliases: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # modules that a file may have in place of the source

    @property
    def stacked(self) -> str:
        """The index letter that counts along the first axis of the targets, or nothing."""
        letters = [letter for _, letter in INDEX.findall(self.targets[0])]
        return next((letter for _, letter in INDEX.findall(self.source) if letter not in letters), "")


@dataclass(frozen=True)
class Table:
    """All lines of a family."""

    rows: tuple[Row, ...]
    prefixes: tuple[str, ...] = ("",)
    ignored: tuple[re.Pattern[str], ...] = ()
    kept: tuple[re.Pattern[str], ...] = ()
    joint: str = "."


@dataclass
class _Draft:
    rows: list[Row] = field(default_factory=list)
    prefixes: tuple[str, ...] = ("",)
    ignored: list[re.Pattern[str]] = field(default_factory=list)
    kept: list[re.Pattern[str]] = field(default_factory=list)
    joint: str = "."


def parse_table(text: str) -> Table:
    """Reads the text of a table; raises ValueError naming a line that is none."""
    draft = _Draft()
    for line in filter(None, map(str.strip, text.splitlines())):
        word, colon, rest = line.partition(":")
        if colon and word in ("prefix", "joint", "ignore", "keep"):
            match word:
                case "prefix":
                    draft.prefixes = tuple(part.strip() for part in rest.split("|"))
                case "joint":
                    draft.joint = rest.strip()
                case "ignore":
                    draft.ignored.append(re.compile(rest.strip()))
                case "keep":
                    draft.kept.append(re.compile(rest.strip()))
            continue
        draft.rows += _rows(line)
    return Table(tuple(draft.rows), draft.prefixes, tuple(draft.ignored), tuple(draft.kept), draft.joint)


def _rows(line: str) -> Iterator[Row]:
    source, equals, rest = (part.strip() for part in line.partition(" = "))
    target, kind, *flags = (*rest.split(), "", "") if equals else ("", "")
    if kind not in LEAVES:
        raise ValueError(f"no line of a weight table: {line}")
    aliases, others = (tuple(flag.partition(":")[2] for flag in flags if flag.startswith(word)) for word in ("alias:", "or:"))
    for one, other in _alternatives(source, target, line):
        yield Row(one.removeprefix("/"), _fused(other), kind, not one.startswith("/"), "fuse:per_head" in flags, aliases, others)


def _alternatives(source: str, target: str, line: str) -> Iterator[tuple[str, str]]:
    """`q|k` on both sides in the same order; several groups vary one after the other."""
    left, right = re.search(r"\(([^()]*\|[^()]*)\)", source), re.search(r"\(([^()]*\|[^()]*)\)", target)
    if left is None or right is None:
        if left or right:
            raise ValueError(f"one side alone has alternatives: {line}")
        yield source, target
        return
    for a, b in zip_longest(left[1].split("|"), right[1].split("|")):
        if a is None or b is None:
            raise ValueError(f"the two sides have other numbers of alternatives: {line}")
        yield from _alternatives(
            source[: left.start()] + a + source[left.end() :], target[: right.start()] + b + target[right.end() :], line
        )


def _fused(target: str) -> tuple[str, ...]:
    found = re.search(r"\{([^{}]*,[^{}]*)\}", target)
    return tuple(target[: found.start()] + part + target[found.end() :] for part in found[1].split(",")) if found else (target,)
