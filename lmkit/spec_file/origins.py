"""Where each value of a resolved spec comes from: a place in a file, an argument, a rule, or a plain default."""

from typing import Any

from lmkit.spec import Amount, Spec, attribute
from lmkit.spec_file import words
from lmkit.spec_file.locate import objects
from lmkit.spec_file.resolve import Rules, words_of
from lmkit.spec_file.spec import RunSpec
from lmkit.spec_file.tree import Node, Path, child


def origins(spec: RunSpec, tree: Node, rules: Rules) -> dict[Path, str]:
    """For each key of `words_of(spec)` and each item of a list in it, the text that says where it comes from."""
    found: dict[Path, str] = {}
    for path, branch in objects(spec):
        required = {key for key, field in words.fields(type(branch)).items() if field.is_required()} | {"kind"}
        for key, value in words_of(branch).items():
            for here in _leaves(branch, (*path, key), value):
                node, full = _written(tree, here)
                short = node is not None and not isinstance(node.value, dict) and key in required
                text = node.at if node is not None and (full or short) else "default"
                why = rules.get(here)
                found[here] = (f"{text}: {why}" if text == "default" else f"{text} ({why})") if why else text
    return found


def _leaves(branch: Spec, path: Path, value: Any) -> list[Path]:
    inner = getattr(branch, attribute(str(path[-1])))
    if isinstance(inner, Spec) and not isinstance(inner, Amount):
        return []
    if isinstance(value, list):
        return [path] + [(*path, i) for i, item in enumerate(value) if not isinstance(item, dict)]
    if isinstance(value, dict):
        return [(*path, name) for name, item in value.items() if not isinstance(item, dict)]
    return [path]


def _written(tree: Node, path: Path) -> tuple[Node | None, bool]:
    """The deepest written node on the way, and whether it is the value itself: only the index of a lone item may be missing."""
    node, missed = tree, False
    lone = path[:2] == ("data", "train")
    for i, part in enumerate(path):
        found = child(node, part)
        if found is not None:
            node = found
        elif not isinstance(part, int) and not (lone and i == 2):
            missed = True
    return node, not missed and not (isinstance(node.value, dict) and node.value)
