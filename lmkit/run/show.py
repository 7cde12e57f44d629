"""`lmkit show`: the resolved spec, every default and derived value in it, and on request where each comes from."""

import json
from pathlib import Path

from lmkit.run.console import Console
from lmkit.spec_file.load import load
from lmkit.spec_file.plain_yaml import to_yaml
from lmkit.spec_file.resolve import words_of
from lmkit.spec_file.tree import dotted


def show(spec: Path, *, overrides: list[str], origin: bool, as_json: bool, console: Console) -> int:
    """Prints the resolved spec as YAML or JSON; with `origin`, each value with its file and line, its rule, or `default`."""
    loaded = load(spec, overrides)
    words = words_of(loaded.spec)
    if as_json:
        origins = {dotted(path): text for path, text in loaded.origins.items()}
        console.out(json.dumps({"spec": words} | ({"origins": origins} if origin else {}), ensure_ascii=False, indent=2))
        return 0
    for warning in loaded.warnings:
        console.err(f"warning: {warning}")
    comment = (lambda path: loaded.origins.get(path, "")) if origin else (lambda path: "")
    console.write(to_yaml(words, comment))
    return 0
