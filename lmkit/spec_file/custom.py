"""The custom parts of a spec: their files, classes and keywords, checked as text; nothing is imported."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lmkit.errors import Problem, SpecError
from lmkit.layers.spec import Custom
from lmkit.scores.spec import CustomMetric
from lmkit.spec import attribute
from lmkit.spec_file import words
from lmkit.spec_file.locate import locate, objects
from lmkit.spec_file.python_class import FoundClass, Unusable, read_class, source_bytes
from lmkit.spec_file.spec import RunSpec
from lmkit.spec_file.tree import Node, child, dotted, plain
from lmkit.spec_file.tree import Path as Keys


@dataclass(frozen=True)
class Complaint:
    """What is wrong with a custom part: at a key of it, or at a place in its file."""

    key: Keys
    what: str
    where: str = ""


def parts_of(spec: RunSpec) -> dict[Keys, Custom]:
    """Every custom part with its path in keys, names and indexes."""
    return {path: part for path, part in objects(spec) if isinstance(part, Custom)}


def layers_of(spec: RunSpec) -> dict[Keys, Custom]:
    """Those of them that are in the model: all but metrics."""
    return {path: part for path, part in parts_of(spec).items() if not isinstance(part, CustomMetric)}


def home_of(at: str) -> str:
    """The folder that a path written at `at` is relative to: that of its file, or the working directory for an argument."""
    parts = at.rsplit(":", 2)
    return os.path.dirname(parts[0]) if len(parts) == 3 and parts[1].isdigit() else ""


def complaints(part: Custom, home: str) -> Iterator[Complaint]:
    """Everything wrong with the file, the class, or the keywords; the file is read, never run."""
    try:
        raw = source_bytes(_path(part, home))
    except Unusable as error:
        yield Complaint(("class",), error.what)
        return
    if part.sha256 not in (None, checksum(raw)):
        yield Complaint(("sha256",), f"{part.file} has another checksum, {checksum(raw)}: it has changed; bring it back, or remove this")
    try:
        found = read_class(raw, _path(part, home), part.class_name, part.base)
    except Unusable as error:
        yield Complaint(("class",), error.what, error.where)
        return
    if not found.derives:
        yield Complaint(("class",), f"{part.class_name} does not derive from {part.base}, as far as this file and lmkit tell", found.at)
        return
    yield from _about_class(part, found)
    yield from _about_config(part, found)


def _about_class(part: Custom, found: FoundClass) -> Iterator[Complaint]:
    name = part.class_name
    lacking = [method for method in part.methods if method not in found.methods]
    if lacking:
        yield Complaint(("class",), f"{name} has no {' and no '.join(lacking)}; docs/extend.md shows one that has", found.at)
    if not found.takes_options:
        what = f"{name} takes no **options; add them, and hand them to super().__init__, which needs the name"
        yield Complaint(("class",), what, found.constructor_at)
    unnamed = [key for key in part.needed if key not in found.keywords]
    if unnamed:
        yield Complaint(("class",), f"{name} takes no {' and no '.join(unnamed)}, which lmkit gives", found.constructor_at)


def _about_config(part: Custom, found: FoundClass) -> Iterator[Complaint]:
    open_to_spec = [key for key in found.keywords if key not in part.given]
    for key in part.config:
        if key in part.given:
            yield Complaint(("config", key), "is given by lmkit; remove it")
        elif key not in found.keywords:
            near = words.nearest(key, open_to_spec)
            known = f"; {part.class_name} takes {', '.join(open_to_spec) or 'none of its own'}"
            yield Complaint(("config", key), "unknown keyword" + (f"; did you mean {' or '.join(near)}?" if near else known))
    for key in open_to_spec:
        if found.keywords[key] and key not in part.config:
            yield Complaint(("config", key), f"missing; {part.class_name} needs it ({found.constructor_at})")


def with_code(spec: RunSpec, tree: Node) -> tuple[RunSpec, dict[Keys, str]]:
    """The spec with absolute paths and checksums in its custom parts, and the rule behind each checksum.

    Raises SpecError where two files share a name, since a run keeps all in one folder.
    """
    rules: dict[Keys, str] = {}
    data = plain(tree) if (parts := parts_of(spec)) else None
    for path, part in parts.items():
        node: Node | None = tree
        for key in (*locate(path, data), "class"):
            node = child(node, key) if node is not None else None
        file = os.path.abspath(_path(part, home_of(node.at) if node is not None else ""))
        spec = put(spec, path, part.model_copy(update={"class_": f"{file}:{part.class_name}", "sha256": checksum(source_bytes(file))}))
        rules[*path, "sha256"] = "the checksum of that file"
    files_of(spec)
    return spec, rules


def files_of(spec: RunSpec) -> dict[str, tuple[str, str]]:
    """By file name, path and checksum of every file of code. Raises SpecError where two share a name."""
    found: dict[str, tuple[str, str]] = {}
    for path, part in parts_of(spec).items():
        name = os.path.basename(part.file)
        if found.setdefault(name, (part.file, part.sha256 or ""))[1] != part.sha256:
            what = f"{part.file} and {found[name][0]} differ and have one name; rename one: a run keeps both in one folder"
            raise SpecError(Problem(what, dotted((*path, "class"))))
    return found


def _path(part: Custom, home: str) -> str:
    return os.path.normpath(os.path.join(home, os.path.expanduser(part.file)))


def checksum(raw: bytes) -> str:
    """The SHA-256 of a file's bytes, as a spec writes it."""
    return hashlib.sha256(raw).hexdigest()


def put(branch: Any, path: Keys, value: Any) -> Any:
    """A copy of a branch, list or mapping with `value` at the path."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(branch, tuple):
        return tuple(put(item, rest, value) if i == part else item for i, item in enumerate(branch))
    if isinstance(branch, dict):
        return {key: put(item, rest, value) if key == part else item for key, item in branch.items()}
    name = attribute(str(part))
    return branch.model_copy(update={name: put(getattr(branch, name), rest, value)})
