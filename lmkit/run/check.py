"""`lmkit check`: validates a spec without importing TensorFlow, Keras or numpy."""

import json
from pathlib import Path

from lmkit.run.console import Console
from lmkit.run.load import load


def check(spec: Path, *, overrides: list[str], strict: bool, as_json: bool, console: Console) -> int:
    """Says that a spec is right; raises SpecError with all its problems. Warnings do not count unless `strict`."""
    loaded = load(spec, overrides, strict=strict)
    if as_json:
        warnings = [problem.as_dict() for problem in loaded.warnings]
        console.out(json.dumps({"ok": True, "name": loaded.spec.name, "warnings": warnings}, ensure_ascii=False))
        return 0
    for warning in loaded.warnings:
        console.err(f"warning: {warning}")
    console.out(f"{spec}: ok")
    return 0
