"""`lmkit check`: validates a spec without importing TensorFlow, Keras or numpy, unless it may run the spec's own code."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lmkit.errors import CheckpointError, SpecError
from lmkit.models.spec import FromRun
from lmkit.run.code import run_code
from lmkit.run.console import Console
from lmkit.spec_file.custom import parts_of
from lmkit.spec_file.load import load
from lmkit.spec_file.spec import RunSpec

if TYPE_CHECKING:
    from lmkit.run.taken import Taken


def check(spec: Path, *, overrides: list[str], strict: bool, as_json: bool, console: Console, allow_code: bool = False) -> int:
    """Says that a spec is right; raises SpecError with all its problems. Warnings do not count unless `strict`.

    With `allow_code`, its custom parts are run and must keep the contract of their rooms.
    """
    loaded = load(spec, overrides, strict=strict)
    with loaded.placing():
        begins, unseen = _begins(loaded.spec)
        tried = _try_code(loaded.spec, console) if allow_code else []
    if as_json:
        warnings = [problem.as_dict() for problem in loaded.warnings]
        facts = {"ok": True, "name": loaded.spec.name, "warnings": warnings} | ({"model_from": begins.as_dict()} if begins else {})
        console.out(json.dumps(facts, ensure_ascii=False))
        return 0
    for warning in loaded.warnings:
        console.err(f"warning: {warning}")
    for line in begins.lines() if begins else unseen:
        console.out(line)
    for name in tried:
        console.out(f"{name} keeps the contract")
    console.out(f"{spec}: ok")
    return 0


def _begins(spec: RunSpec) -> "tuple[Taken | None, list[str]]":
    """What a model that comes from another one takes from there, or lines that say why that is not known."""
    if not isinstance(spec.model, FromRun) or spec.model.body is not None:
        return None, []
    from lmkit.run.taken import taken

    try:
        return taken(spec), []
    except CheckpointError as error:
        return None, [f"model.from: cannot be looked into now, and training will have to: {problem}" for problem in error.problems]


def _try_code(spec: RunSpec, console: Console) -> list[str]:
    """The custom parts, which all keep the contract. Raises SpecError with what they break."""
    from lmkit.run.body import with_body

    whole = with_body(spec)
    parts = list(dict.fromkeys(part.class_ for part in parts_of(whole).values()))
    if parts:
        with console.quiet():
            from lmkit.run.contract import breaches
        run_code(whole)
        if found := breaches(whole):
            raise SpecError(*found)
    return parts
