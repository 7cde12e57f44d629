"""A run's directory: made once, continued by the same spec once it has saved, never mixed with anything else, never emptied."""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmkit.checkpoints.files import Disk, machine_errors, sweep, write_file
from lmkit.errors import CheckpointError, MachineError, Problem, SpecError
from lmkit.run.changes import GROWING, Parse, allowed_changes
from lmkit.run.lock import Lock, take

BEGUN = re.compile(r"run\.lock|spec\.yaml|\.tmp-\d+")
DONE = "all steps are done"
Say = Callable[[str], None]


@dataclass(frozen=True)
class RunDirectory:
    """Where a run keeps what it is: everything to continue, evaluate, export or explain it."""

    path: Path
    lock: Lock | None = None  # None where a run is only read
    resumed: bool = False  # it was there before, with this spec
    changes: tuple[str, ...] = ()  # allowed differences to the spec it was last run with

    @property
    def spec(self) -> Path:
        return self.path / "spec.yaml"

    @property
    def resolved(self) -> Path:
        return self.path / "resolved.yaml"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        return self.path / "best"

    @property
    def notes_file(self) -> Path:
        return self.path / "run.json"

    @property
    def notes(self) -> dict[str, Any]:
        """What the run has noted about itself: `finished`, `saved`, `decisions`, ..."""
        if not self.notes_file.exists():
            return {}
        try:
            return json.loads(self.notes_file.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise CheckpointError(Problem(f"cannot be read: {error}", where=str(self.notes_file))) from None

    def note(self, **facts: Any) -> None:
        """Adds to the notes, replacing the file in one step; None takes a note away."""
        notes = {key: value for key, value in (self.notes | facts).items() if value is not None}
        write_file(self.notes_file, json.dumps(notes, indent=1, sort_keys=True) + "\n")

    def finish(self, step: int, why: str) -> None:
        """Notes that the run needs no more training, for example `finish(2000, DONE)`."""
        self.note(finished={"step": step, "why": why})

    @property
    def finished(self) -> str:
        """The sentence for a user who starts a finished run again; empty while there is work left."""
        found = self.notes.get("finished")
        return f"{self.path} is already finished at step {found['step']}: {found['why']}" if found else ""

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Writes environment.json: versions and devices of the latest start."""
        write_file(self.environment, json.dumps(facts, indent=1, sort_keys=True) + "\n")

    def require(self) -> None:
        """Raises MachineError where the directory of a run that is at work was moved or deleted."""
        if self.lock is not None:
            self.lock.require()

    def close(self) -> None:
        """Releases the lock."""
        if self.lock is not None:
            self.lock.release()

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_run(
    path: Path,
    *,
    spec_text: str,
    resolved_text: str,
    parse: Parse,
    derived: Collection[str] = (),
    from_scratch: bool = False,
    resume: bool = False,
    say: Say = lambda line: None,
) -> RunDirectory:
    """Makes the directory of a new run, or opens that of a run with the same spec to continue it; takes its lock.

    `parse` reads `resolved_text`, and the one stored before, into plain mappings that are compared key by key; the `derived` keys of
    it follow from others. `from_scratch` moves what is there to `<name>.old-N` first. With `resume` it must be a run already.
    Raises SpecError for another spec than the saved run's, MachineError for a folder of other files, a lock that is held and a
    disk that refuses, CheckpointError when `resume` finds no run. Until then nothing is changed.
    """
    state = _state(path)
    if resume and state != "run":
        raise CheckpointError(Problem("is no run directory, so there is nothing to resume" + _runs_beside(path), where=str(path)))
    with machine_errors("the run directory cannot be made", path):
        Disk().make_directories(path)
    lock = take(path / "run.lock", say=say)
    try:
        state = _state(path)
        if from_scratch and state == "run":
            say(f"{path}: what was there is kept as {_move_aside(path)}")
            lock.release()
            with machine_errors("the run directory cannot be made", path):
                Disk().make_directories(path)
            lock = take(path / "run.lock", say=say)
            state = _state(path)
        changes: list[str] = []
        if state == "run":
            try:
                changes = allowed_changes(path, parse(resolved_text), parse, derived)
            except SpecError:
                if _saved_any(path):
                    raise
                say(f"{path}: nothing was trained here yet, so the run begins with the spec as it is now")
                _forget(path)
                state = "begun"
        for directory in (path, path / "checkpoints", path / "best"):
            sweep(directory)
        if state != "run":
            _write_specs(path, spec_text, resolved_text)
            return RunDirectory(path, lock)
        run = RunDirectory(path, lock, resumed=True, changes=tuple(changes))
        if changes:
            _write_specs(path, spec_text, resolved_text)
            if any(line.startswith(GROWING) for line in changes) and run.notes.get("finished", {}).get("why") == DONE:
                run.note(finished=None)
        return run
    except BaseException:
        lock.release()
        raise


def existing_run(path: Path) -> RunDirectory:
    """A run that is only read, without its lock. Raises CheckpointError naming the runs beside it when it is none."""
    if path.is_file() or _state(path, foreign_is_error=False) != "run":
        raise CheckpointError(Problem("is no run directory" + _runs_beside(path), where=str(path)))
    return RunDirectory(path, resumed=True)


def require_space(path: Path, needed: int, what: str, fix: str = "free some space") -> None:
    """Raises MachineError when the file system of `path` has less than `needed` bytes left."""
    free = shutil.disk_usage(path).free
    if free < needed:
        raise MachineError(Problem(f"{what} need {needed / 1e9:.2g} GB, free are {free / 1e9:.2g} GB; {fix}", where=str(path)))


def _write_specs(path: Path, spec_text: str, resolved_text: str) -> None:
    write_file(path / "spec.yaml", spec_text)
    write_file(path / "resolved.yaml", resolved_text)  # last: it is what makes a folder a run


def _state(path: Path, foreign_is_error: bool = True) -> str:
    """`absent`, `begun` (nothing but our own first files), `run`, or `foreign`."""
    try:
        names = sorted(entry.name for entry in os.scandir(path))
    except FileNotFoundError:
        return "absent"
    except OSError as error:
        what = "is a file, not a directory" if error.errno == errno.ENOTDIR else f"cannot be read: {error.strerror}"
        raise MachineError(Problem(what, where=str(path))) from None
    if "resolved.yaml" in names:
        return "run"
    if not names or ("run.lock" in names and all(BEGUN.fullmatch(name) for name in names)):
        return "begun"
    if foreign_is_error:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        what = f"holds files that are no run of lmkit ({shown}); name another --run-dir; nothing was touched"
        raise MachineError(Problem(what, where=str(path)))
    return "foreign"


def _runs_beside(path: Path) -> str:
    for folder in (path.parent, path.parent / "runs"):
        with contextlib.suppress(OSError):
            found = sorted(p.name for p in folder.iterdir() if (p / "resolved.yaml").is_file())
            if found:
                return f"; {'beside it' if folder == path.parent else 'in runs/'} are {', '.join(found[:10])}"
    return ""


def _saved_any(path: Path) -> bool:
    return any([*path.glob("checkpoints/*"), *path.glob("best/*")])


def _forget(path: Path) -> None:
    """Takes away what was made from the former spec of a run that never saved."""
    from lmkit.text.folder import FACTS, KEPT, TOKENIZER  # imports the tokenizers library

    for name in ("run.json", TOKENIZER, FACTS, *KEPT):
        (path / name).unlink(missing_ok=True)


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    with machine_errors("what is there cannot be moved aside", path):
        os.rename(path, aside)
    return aside
