"""A model that another spec file declares: `model.from: other.yaml` stands for the words of that file's model, not for any weights."""

import os
from collections.abc import Callable
from dataclasses import replace

from lmkit.errors import Problem, SpecError
from lmkit.models.spec import SIDES
from lmkit.spec_file.custom import home_of
from lmkit.spec_file.tree import UNREADABLE, Node, child, merge

KEY = "model.from"
OF_WEIGHTS = ("freeze", "reinitialize", "unfreeze_every")  # keys beside `from` that speak of learned weights
HAVE_DROPOUT = ("attention", *SIDES)

Read = Callable[[str], Node]  # path of a spec file -> its tree; raises SpecError


def with_declared(tree: Node, read: Read, problems: list[Problem], chain: tuple[str, ...]) -> Node:
    """The tree with the words of the spec file that `model.from` names: its model, under what is written beside `from`, and its
    tokenizer where the tree has none. A tree without such a file is returned as it is.

    The path is relative to the file that names it; `chain` are the files on the way here. What is wrong goes into `problems`.
    """
    model = child(tree, "model")
    named = child(model, "from") if model is not None else None
    if model is None or named is None or not _is_file(named.value) or model.value.keys() & {"kind", "body"}:
        return tree  # the words of a run are whole: they need no other file
    path = os.path.normpath(os.path.join(home_of(named.at), os.path.expanduser(named.value)))
    here = (*chain, os.path.realpath(path))
    if here[-1] in chain:
        problems.append(Problem(f"{named.value}: the chain of model.from comes back to itself", KEY, named.at))
        return _with(tree, model=Node(UNREADABLE, named.at))
    try:
        other = with_declared(read(path), read, problems, here)
    except SpecError as error:
        problems += (Problem(f"{p.where} {p.what}", KEY, named.at) for p in error.problems)
        return _with(tree, model=Node(UNREADABLE, named.at))
    declared = child(other, "model")
    fault = _fault(declared, named.value)
    if fault:
        problems.append(Problem(fault, KEY, named.at))
        return _with(tree, model=Node(UNREADABLE, named.at))
    assert declared is not None
    found = tree if child(tree, "tokenizer") or not child(other, "tokenizer") else _with(tree, tokenizer=other.value["tokenizer"])
    return _with(found, model=_laid(model, declared, named.value, problems))


def _laid(model: Node, declared: Node, name: str, problems: list[Problem]) -> Node:
    """What stands beside `from` on top of what the file declares."""
    if not isinstance(declared.value, dict):
        return declared
    for key in model.value.keys() & set(OF_WEIGHTS):
        what = f"goes with a run or folder, but {name} declares a model, whose weights begin anew; remove it"
        problems.append(Problem(what, f"model.{key}", model.value[key].section_at))
    own = {key: entry for key, entry in model.value.items() if key not in ("from", *OF_WEIGHTS)}
    return merge(_without_dropout(declared) if "dropout" in own else declared, replace(model, value=own))


def _is_file(value: object) -> bool:
    return isinstance(value, str) and value.endswith((".yaml", ".yml")) and not os.path.isdir(os.path.expanduser(value))


def _fault(declared: Node | None, name: str) -> str:
    """Why a file's model cannot stand for another's, empty where it can."""
    if declared is None:
        return f"{name} is a YAML file without a model; name a spec file, a run directory or a folder with a model"
    start = child(declared, "from")
    return "" if start is None or not isinstance(start.value, str) else f"{name} takes its own model from {start.value}; write that here"


def _with(tree: Node, **entries: Node) -> Node:
    return replace(tree, value=tree.value | entries)


def _without_dropout(model: Node) -> Node:
    """A model's words without any dropout, so that the one laid over them holds everywhere."""
    if not isinstance(model.value, dict):
        return model
    kept = {key: _without_dropout(entry) if key in HAVE_DROPOUT else entry for key, entry in model.value.items() if key != "dropout"}
    return replace(model, value=kept)
