"""Pydantic's complaints in a user's words: what was expected, what was found, how to mend it."""

import json
from collections.abc import Iterable
from typing import Any

from lmkit.spec import LARGEST, Spec
from lmkit.spec_file import words

Complaint = dict[str, Any]  # one entry of pydantic's errors()

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "tuple_type": "a list",
    "list_type": "a list",
}
BOUNDS = ("greater_than_equal", "greater_than", "less_than_equal", "less_than")
NAME = "a name of letters, digits, _ or - that begins with a letter"
MEANT = {"no": "false", "n": "false", "off": "false", "yes": "true", "y": "true", "on": "true"}


def shown(value: Any) -> str:
    """A found value, short: text in quotes, `true`, `null`, `a list`."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + '..."'


def choices(complaint: Complaint) -> list[str]:
    """The words that would have been right."""
    context = complaint.get("ctx") or {}
    listed = context.get("expected_tags") or (context.get("expected", "") if complaint["type"] == "literal_error" else "")
    return [word.strip(" '<>") for word in listed.replace(" or ", ", ").split(",") if word.strip()]


def one_of(value: Any, allowed: list[str]) -> str:
    """`"rotry" is not one of ...; did you mean ...?`"""
    near = words.nearest(value, allowed) if isinstance(value, str) else []
    if len(allowed) == 1:
        return f"expected {allowed[0]}, got {shown(value)}"
    return f"{shown(value)} is not one of {', '.join(allowed)}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def wrong_value(complaints: list[Complaint], value: Any, *, quoted: bool, required: bool) -> str:
    """One sentence for everything pydantic says about one value."""
    if value is None:
        return "null is no value here; " + ("write one" if required else "remove the key to get its default")
    first = complaints[0]
    if all(c["type"] == "literal_error" for c in complaints):
        return one_of(value, [word for c in complaints for word in choices(c)])
    custom = [str(c["ctx"]["error"]) for c in complaints if c["type"] == "value_error"]
    expected = list(dict.fromkeys(text for c in complaints for text in _expected(c)))
    if custom and not all(text.startswith("expected ") for text in custom):
        return custom[0]
    expected += [text.removeprefix("expected ") for text in custom]
    if not expected:
        return first["msg"][:1].lower() + first["msg"][1:]
    if "text" in expected and len(expected) > 1 and all(c["type"] != "string_type" for c in complaints):
        expected.remove("text")
    return f"expected {' or '.join(dict.fromkeys(expected))}, got {shown(value)}{_mend(expected, value, quoted)}"


def mapping_of(classes: list[type[Spec]], field: Any, value: Any) -> str:
    """What should stand where a scalar stands: a mapping with all that is required, of the variant that may have been meant."""
    own = (field.examples or [None])[0] if field is not None else None
    if isinstance(own, dict) and words.holds_names(field.annotation):
        return f"a mapping such as {flow(own)}"
    by_tag = {words.tag(cls).strip("<>"): cls for cls in classes}
    near = words.nearest(value, by_tag) if isinstance(value, str) else []
    cls = by_tag[near[0]] if near else classes[0]
    required = {key: (f.examples or ["..."])[0] for key, f in words.fields(cls).items() if f.is_required()}
    kind = {"kind": words.tag(cls)} if "kind" in cls.model_fields else {}
    mapping = f"a mapping such as {flow(kind | required)}" if required else "a mapping of keys"
    return f"a number such as {own} or {mapping}" if isinstance(own, float) else mapping


def flow(value: Any) -> str:
    """An example value as one writes it in YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(entry)}" for key, entry in value.items()) + "}"
    return str(value)


def _expected(complaint: Complaint) -> Iterable[str]:
    kind, context = complaint["type"], complaint.get("ctx") or {}
    if kind == "literal_error":
        return choices(complaint)
    if kind in EXPECTED:
        return [EXPECTED[kind]]
    if kind in BOUNDS:
        _, field = words.walk(complaint["loc"])
        found = words.bounds(field.annotation, field.metadata) if field is not None else {}
        found.update({name: context[name] for name in ("ge", "gt", "le", "lt") if name in context and name not in found})
        if kind.startswith("greater") and found.get("le") == LARGEST:
            del found["le"]
        return [f"a number {words.range_text(found)}" if found else "another number"]
    if kind == "string_pattern_mismatch":
        return ["letters, digits, _, - or ." if "._" in context["pattern"] else NAME]
    if kind in ("too_short", "string_too_short", "too_long", "string_too_long"):
        number, few = (context["min_length"], "at least") if kind.endswith("short") else (context["max_length"], "at most")
        one, more = ("character", "characters") if kind.startswith("string") else ("entry", "entries")
        return [f"{few} {number} {one if number == 1 else more}"]
    return []


def _mend(expected: list[str], value: Any, quoted: bool) -> str:
    if "true or false" in expected and isinstance(value, str) and value.lower() in MEANT:
        return f"; write {MEANT[value.lower()]}"
    number = any("number" in text for text in expected)
    if number and quoted and isinstance(value, str) and value.strip().lstrip("-").replace(".", "", 1).isdigit():
        return f"; write {value.strip()} without quotes"
    if "a whole number" in expected and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"; write {int(value)}"
    if "text" in expected and isinstance(value, int | float):
        return "; put it in quotes" if not isinstance(value, bool) else ""
    return ""
