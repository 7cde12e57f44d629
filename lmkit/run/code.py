"""The code of a user's own that a spec names: its files kept in the run, and run where the user allows it."""

import os
import re
import sys
from pathlib import Path
from types import ModuleType

from lmkit.checkpoints.files import write_file
from lmkit.errors import CheckpointError, Problem, SpecError
from lmkit.layers.build import PREFIX, module_of
from lmkit.spec_file.custom import checksum, files_of, parts_of, put
from lmkit.spec_file.python_class import Unusable, source_bytes
from lmkit.spec_file.spec import RunSpec
from lmkit.spec_file.tree import dotted

CODE = "code"  # folder of a run that keeps the files


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


def place_in_code(error: BaseException) -> str:
    """`file:line` of the innermost step of an error in a user's code, empty where there is none."""
    found, trace = "", error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith(PREFIX):
            found = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def files_run() -> list[str]:
    """The files of users' code that this process has run."""
    return [str(module.__file__) for name, module in list(sys.modules.items()) if name.startswith(PREFIX)]


def first_line(error: BaseException) -> str:
    """What an error says, short and plain, without what Keras and TensorFlow say around it."""
    text = re.sub(r"\x1b\[\d+m|\{\{function_node .*?\}\} ", "", str(error))
    said = [line for line in text.splitlines() if line.strip() and not line.startswith("Exception encountered when calling")]
    return said[0][:200] if said else ""
