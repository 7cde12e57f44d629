"""Writes docs/spec.md, the reference of every key, from the spec classes: `python tools/spec_reference.py`."""

import types
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lmkit.spec import Amount
from lmkit.spec_file.spec import RunSpec

TARGET = Path(__file__).parents[1] / "docs" / "spec.md"
OPENING = """# Spec reference

Generated from the code by `python tools/spec_reference.py`; `lmkit schema` prints the same as JSON Schema.

A scalar is short for `{kind: scalar}`. Counts take `k`, `M`, `B`; fractions take `%`; lengths take a unit (`1k steps`, `10 minutes`, `6%`).
An omitted key takes its default; a default of *derived* follows from other keys, and `lmkit show --origin` says how.
"""


def members(annotation: object) -> list[type[BaseModel]]:
    """The spec classes inside an annotation, in order, without repeats."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if annotation is Amount else [annotation]
    found: list[type[BaseModel]] = []
    for inner in typing.get_args(annotation):
        found += [member for member in members(inner) if member not in found]
    return found


def type_text(annotation: object) -> str:
    """An annotation as a reader would say it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_text(a) for a in arguments if a is not type(None) and not isinstance(a, str)))
    if origin is tuple:
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return f"mapping of names to {type_text(arguments[1])}"
    if annotation is Amount:
        return "amount"
    if annotation is typing.Any:
        return "anything"
    names = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}
    if annotation in names:
        return names[annotation]  # type: ignore[index]
    return word(annotation) if isinstance(annotation, type) else str(annotation)


def word(cls: type) -> str:
    """How a class is written in a spec: its kind, or the key that marks it."""
    kind = getattr(cls, "model_fields", {}).get("kind")
    if kind is not None and kind.default is not None and isinstance(kind.default, str):
        return f"`{kind.default}`"
    return f"[{cls.__name__}](#{cls.__name__.lower()})"


def default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "*derived or off*"
    if isinstance(value, Amount):
        return f"`{value}`"
    if isinstance(value, BaseModel):
        return word(type(value))
    if isinstance(value, tuple):
        return ", ".join(word(type(v)) if isinstance(v, BaseModel) else f"`{v}`" for v in value) or "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def section(cls: type[BaseModel]) -> list[str]:
    title = word(cls) if word(cls).startswith("`") else cls.__name__
    lines = [f"### {title}", "", (cls.__doc__ or "").strip(), "", "| key | takes | default | |", "|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        key = field.alias or name
        if key != "kind":
            cells = (f"`{key}`", type_text(field.annotation), default_text(field), field.description or "")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def reference() -> str:
    """The whole page: each top-level block, then the classes it is made of, depth first."""
    lines = [OPENING]
    seen: set[type[BaseModel]] = set()

    def visit(cls: type[BaseModel]) -> None:
        if cls in seen:
            return
        seen.add(cls)
        lines.extend(section(cls))
        for field in cls.model_fields.values():
            for member in members(field.annotation):
                visit(member)

    lines.extend(["## Top level", ""])
    seen.add(RunSpec)
    lines.extend(section(RunSpec))
    for name, field in RunSpec.model_fields.items():
        branches = members(field.annotation)
        if branches:
            lines.extend([f"## {name}", ""])
        for branch in branches:
            visit(branch)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
