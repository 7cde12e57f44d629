"""A class in a user's Python file, read as text: its constructor, its methods and what it derives from; nothing is imported."""

import ast
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lmkit.spec_file import words

MOST_BYTES = 2**20
PACKAGE = Path(__file__).parents[1]  # lmkit, whose classes a user's class may derive from
UNPARSED = (SyntaxError, ValueError, RecursionError, MemoryError)


class Unusable(Exception):
    """The file or class cannot be used; `where` is a place in the file where there is one."""

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(what)
        self.what, self.where = what, where


@dataclass(frozen=True)
class FoundClass:
    """What the text tells of a class and of all that it derives from."""

    at: str
    constructor_at: str = ""
    keywords: dict[str, bool] = field(default_factory=dict)  # keyword of the constructor -> whether it must be given
    takes_options: bool = True  # whether the constructor has **options
    methods: frozenset[str] = frozenset()  # those of the classes below `base`
    derives: bool = False  # whether `base` is among its bases


def source_bytes(path: str) -> bytes:
    """A Python file's bytes; raises Unusable where it is absent, no regular file, or too large, without reading it."""
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise Unusable(f"{path} is no regular file")
        if facts.st_size > MOST_BYTES:
            raise Unusable(f"{path} is {facts.st_size:,} bytes; a file of code has at most {MOST_BYTES:,}")
        with open(path, "rb") as file:
            return file.read(MOST_BYTES)
    except FileNotFoundError:
        raise Unusable(f"{path} does not exist{_nearby(path)}") from None
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _nearby(path: str) -> str:
    try:
        found = sorted(name for name in os.listdir(os.path.dirname(path) or ".") if name.endswith(".py"))
    except OSError:
        return ""
    return f"; Python files there: {', '.join(found[:8])}" + (", ..." if len(found) > 8 else "") if found else ""


class _Module:
    """A parsed file: its top-level classes, and where its names are imported from."""

    def __init__(self, raw: bytes, path: str) -> None:
        self.path = path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.tree = ast.parse(raw, path)
        except UNPARSED as error:
            line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
            what = getattr(error, "msg", "") or str(error) or "nested too deeply"
            raise Unusable(f"not readable as Python: {what}", f"{path}:{line}:{column}") from None
        self.classes = {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef)}
        self.imported: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                self.imported |= {a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                self.imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}

    def at(self, node: ast.stmt) -> str:
        return f"{self.path}:{node.lineno}:{node.col_offset + 1}"

    def full_name(self, base: ast.expr) -> str:
        """`Layer` or `layer.Layer` as the dotted name that it is imported from."""
        first, _, rest = ast.unparse(base).partition(".")
        return ".".join(part for part in (self.imported.get(first, first), rest) if part)

    def refuse_neighbours(self) -> None:
        """Raises Unusable for an import of a file beside this one: only this one is copied into the run."""
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            if isinstance(node, ast.ImportFrom) and node.level:
                raise Unusable("a relative import cannot work: this file is copied into the run alone", self.at(node))
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for name in (name.split(".")[0] for name in names):
                here = Path(self.path).parent / name
                if name != PACKAGE.name and (here.with_suffix(".py").is_file() or (here / "__init__.py").is_file()):
                    what = f"imports {name}, which lies beside this file, but this file is copied into the run alone"
                    raise Unusable(f"{what}; write all into one file, or install the other as a package", self.at(node))


def read_class(raw: bytes, path: str, name: str, base: str) -> FoundClass:
    """The class `name` of the file, whose base is meant to be `base`, a dotted name in lmkit. Raises Unusable."""
    module = _Module(raw, path)
    module.refuse_neighbours()
    if name not in module.classes:
        near = words.nearest(name, module.classes)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; it has {', '.join(module.classes) or 'none'}"
        raise Unusable(f"{path} has no class {name}{hint}")
    constructor: tuple[_Module, ast.FunctionDef] | None = None
    methods: set[str] = set()
    derives = False
    for where, node, full in _lineage(module, name, set()):
        functions = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
        if constructor is None and "__init__" in functions:
            constructor = where, functions["__init__"]
        derives = derives or full == base
        if not derives:
            methods |= functions.keys()
    at = module.at(module.classes[name])
    if constructor is None:
        return FoundClass(at, at, methods=frozenset(methods), derives=derives)
    where, function = constructor
    options = function.args.kwarg is not None
    return FoundClass(at, where.at(function), _keywords(function), options, frozenset(methods), derives)


def _keywords(function: ast.FunctionDef) -> dict[str, bool]:
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    needed = {argument.arg: i < len(plain) - len(arguments.defaults) for i, argument in enumerate(plain) if i}
    return needed | {a.arg: default is None for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)}


def _lineage(module: _Module, name: str, seen: set[str]) -> Iterator[tuple[_Module, ast.ClassDef, str]]:
    """The class and everything that it derives from, as far as it is written in this file or in lmkit, nearest first."""
    node, full = module.classes[name], f"{_dotted(module)}.{name}"
    if full in seen:
        return
    seen.add(full)
    yield module, node, full
    for base in node.bases:
        target = module.full_name(base)
        if target in module.classes:
            yield from _lineage(module, target, seen)
        elif target.startswith(f"{PACKAGE.name}."):
            home, _, cls = target.rpartition(".")
            file = PACKAGE.parent.joinpath(*home.split(".")).with_suffix(".py")
            inner = _Module(file.read_bytes(), str(file)) if file.is_file() else None
            if inner is not None and cls in inner.classes:
                yield from _lineage(inner, cls, seen)


def _dotted(module: _Module) -> str:
    """`lmkit.layers.layer` for a file of lmkit, the path for another."""
    path = Path(module.path)
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) if path.is_relative_to(PACKAGE) else module.path
