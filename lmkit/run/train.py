"""`lmkit train`: begins a run, or goes on with it, until its plan is done."""

import hashlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmkit.checkpoints.files import write_file
from lmkit.run.body import with_body
from lmkit.run.code import in_run, keep, require_permission
from lmkit.run.console import Console
from lmkit.run.crew import Crew, crew_of
from lmkit.run.directory import RunDirectory, open_run
from lmkit.run.material import CACHE, RUNS, Material, material, tokenizer_of
from lmkit.run.signals import StopRequest
from lmkit.run.unchanged import require_unchanged
from lmkit.spec_file.custom import files_of
from lmkit.spec_file.load import load, resolved_text, whole_words
from lmkit.spec_file.spec import RunSpec
from lmkit.text.build import load_tokenizer
from lmkit.text.export import run_files
from lmkit.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from lmkit.run.session import Session

VERSIONS = ("lmkit", "tensorflow", "keras", "numpy", "tokenizers")


def train(
    spec: Path, *, overrides: list[str], run_dir: Path | None, from_scratch: bool, allow_code: bool, stop: StopRequest, console: Console
) -> int:
    """Trains the spec in its run directory; a run that is there with the same spec goes on where it was saved.

    Raises LmkitError of every kind; Interrupted when asked to stop, with everything saved.
    """
    loaded = load(spec, overrides)
    for warning in loaded.warnings:
        console.err(f"warning: {warning}")
    with loaded.placing():
        resolved = with_body(loaded.spec)
        require_permission(resolved, allowed=allow_code, where=str(spec))
        words, path = resolved_text(in_run(resolved)), run_dir or RUNS / resolved.name

        def opened() -> RunDirectory:
            return open_run(
                path,
                spec_text=loaded.text,
                resolved_text=words,
                parse=whole_words,
                derived=loaded.derived,
                from_scratch=from_scratch,
                say=console.err,
            )

        stop.require_none("the run was begun")
        with crew_of(resolved.runtime, stop, console) as crew, crew.run_directory(opened) as run:
            for change in run.changes:
                crew.console.err(f"changed since the last start: {change}")
            if run.finished:
                crew.console.out(run.finished)
                crew.agree(run, {})
                return 0
            session_of(resolved, words, run, path.parent / CACHE, crew).train()
            return 0


def session_of(spec: RunSpec, words: str, run: RunDirectory, cache: Path, crew: Crew) -> "Session":
    """All that a run trains with, once its tokenizer and its batches are made and every process of the crew has the same.

    Raises DataError, SpecError, MachineError.
    """
    console, stop = crew.console, crew.stop
    keep(spec, run.path)
    tokenizer = _tokenizer(spec, run, stop, console)
    stuff = material(spec, tokenizer=tokenizer, cache=cache, say=console.err, stop=stop)
    console.err(_greeting(run, stuff))

    if crew.is_chief:
        require_unchanged(run, stuff)
    run.note(labels={name: list(names) for name, names in stuff.batches.labels.items()} or None)
    facts = {"spec": _sha(words), "data": stuff.fingerprints, "tokenizer": tokenizer.hash, "versions": versions()}
    facts |= {"code": {name: sha256 for name, (_, sha256) in files_of(spec).items()}}
    crew.agree(run, facts)

    stop.require_none("anything was built")
    with console.quiet():  # imports TensorFlow, so only when everything else is in order
        from lmkit.run.session import Session
        from lmkit.run.world import World

    stop.require_none("anything was built")
    return Session(spec, words, stuff, World(run, stop, console, crew.alarm, crew.devices(spec.runtime)), facts)


def _tokenizer(spec: RunSpec, run: RunDirectory, stop: Callable[[], bool], console: Console) -> Tokenizer:
    """The run's own tokenizer, made at its first start."""
    if run.tokenizer.exists():
        return load_tokenizer(run.tokenizer)
    tokenizer = tokenizer_of(spec, say=console.err, stop=stop)
    for name, data in run_files(tokenizer).items():
        (run.path / name).parent.mkdir(exist_ok=True)
        write_file(run.path / name, data)
    return tokenizer


def _greeting(run: RunDirectory, stuff: Material) -> str:
    facts: dict[str, Any] = stuff.batches.describe()
    rows = sum(part["rows"] for part in facts["train"])
    held = sum(part["rows"] for part in facts["validation"])
    return f"{run.path}: {rows:,} rows for training, {held:,} for validation, {stuff.tokenizer.vocab_size:,} token ids"


def versions() -> dict[str, str]:
    """Installed versions of what decides the numbers."""

    def one(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "absent"

    return {name: one(name) for name in VERSIONS}


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
