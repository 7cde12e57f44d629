"""The code of a user's own that a spec names: its files kept in the run, and run where the user allows it."""

import os
import re
import sys
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, NamedTuple

from lmkit.checkpoints.files import write_file
from lmkit.errors import CheckpointError, Problem, SpecError
from lmkit.layers.build import PREFIX, module_of
from lmkit.spec import Spec, attribute
from lmkit.spec_file.custom import checksum, files_of, parts_of, put
from lmkit.spec_file.python_class import Unusable, source_bytes
from lmkit.spec_file.spec import RunSpec
from lmkit.spec_file.tree import Path as Keys
from lmkit.spec_file.tree import dotted

CODE = "code"  # folder of a run that keeps the files
AROUND = ("Exception encountered when calling", "Graph execution error:", "Detected at node ", '  File "')
MOST_KEYS = 3  # that are named for one error
_keys: dict[str, dict[str, str]] = {}  # by file, the keys that name its classes


def in_run(spec: RunSpec) -> RunSpec:
    """The spec as a run's resolved.yaml says it: its files are those of the run."""
    for path, part in parts_of(spec).items():
        name = f"{CODE}/{os.path.basename(part.file)}:{part.class_name}"
        spec = put(spec, path, part.model_copy(update={"class_": name}))
    return spec


def keep(spec: RunSpec, run: Path) -> None:
    """Copies the files that are not in the run's folder yet."""
    for name, (path, sha256) in files_of(spec).items():
        target = run / CODE / name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            write_file(target, _unchanged(path, sha256))


def _unchanged(path: str, sha256: str) -> bytes:
    try:
        raw = source_bytes(path)
    except Unusable as error:
        raise CheckpointError(Problem(error.what)) from None
    if checksum(raw) != sha256:
        raise CheckpointError(Problem("has changed since the spec was read", where=path))
    return raw


def require_permission(spec: RunSpec, *, allowed: bool, where: str) -> None:
    """Raises SpecError, in one line, where the spec names code and the user has not allowed it."""
    files = [path for path, _ in files_of(spec).values()]
    if files and not allowed:
        what = f"{' and '.join(files)}: the spec names code of your own; read it, then say --allow-code to run it"
        raise SpecError(Problem(what, dotted((*next(iter(parts_of(spec))), "class")), where))


def run_code(spec: RunSpec) -> None:
    """Runs every file once in a process, its bytes proved by their checksum. For who has asked `require_permission`."""
    for path, sha256 in files_of(spec).values():
        _keys[path] = {_key(spec, keys): part.class_name for keys, part in parts_of(spec).items() if part.sha256 == sha256}
        name = module_of(sha256)
        if name in sys.modules:
            continue
        module = ModuleType(name)
        module.__file__ = path
        sys.modules[name] = module
        try:
            exec(compile(_unchanged(path, sha256), path, "exec"), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise


def _key(spec: RunSpec, path: Keys) -> str:
    """A path as a user writes it: without the index of a lone item."""
    branch: Any = spec
    written: list[str | int] = []
    for part in path:
        if not (isinstance(branch, tuple) and len(branch) == 1):
            written.append(part)
        branch = getattr(branch, attribute(str(part))) if isinstance(branch, Spec) else branch[part]
    return dotted(tuple(written))


class Blame(NamedTuple):
    """Where in a user's code an error arose, `file:line`, and the keys of the spec that named it; empty where it arose elsewhere."""

    where: str = ""
    key: str = ""


def blame(error: BaseException) -> Blame:
    """The innermost step of an error in a user's code; the keys are those of the class at work, or of the only one in the file."""
    graph = re.findall(r'^  File "(.*)", line (\d+), in ', str(error), re.MULTILINE)  # the steps that made what failed
    steps: list[tuple[str, int, Any]] = [(file, int(line), None) for file, line in graph]
    steps += [(frame.f_code.co_filename, line, frame.f_locals.get("self")) for frame, line in walk_tb(error.__traceback__)]
    mine = [step for step in steps if step[0] in _keys]
    if not mine:
        return Blame()
    file, line, _ = mine[-1]
    known = {*_keys[file].values()}
    names = next((names for _, _, worker in reversed(mine) if (names := known & _classes(worker))), known if len(known) == 1 else set())
    named = [key for key, name in _keys[file].items() if name in names]
    return Blame(f"{file}:{line}", " and ".join(named[:MOST_KEYS]))


def _classes(worker: object) -> set[str]:
    return {cls.__name__ for cls in type(worker).__mro__}


def files_run() -> list[str]:
    """The files of users' code that this process has run."""
    return [str(module.__file__) for name, module in list(sys.modules.items()) if name.startswith(PREFIX)]


def first_line(error: BaseException) -> str:
    """An error's kind and what it says, short and plain, without what Keras and TensorFlow say around it."""
    raw = str(error.args[0] if isinstance(error, KeyError) and error.args else error)  # str of a KeyError is a repr
    text = re.sub(r"\x1b\[\d+m|\{\{function_node .*?\}\} | for '\{\{node .*| \[Op:.*", "", raw)
    said = [line for line in text.splitlines() if line.strip() and not line.startswith(AROUND)]
    return ": ".join([type(error).__name__, *(line[:200] for line in said[:1])])
