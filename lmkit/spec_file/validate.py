"""A tree of values into a RunSpec, or every problem at once: wrong keys, wrong values, missing keys, and the rules between keys.

Pydantic stops at the first layer: no rule between keys runs while a type is wrong. So what is wrong is noted, mended or taken out,
and the rest validated again; then the rules run on the spec objects, each rule skipped that would touch what was taken out.
"""

import contextlib
import copy
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from lmkit.errors import Problem
from lmkit.spec import Spec, attribute
from lmkit.spec_file import words
from lmkit.spec_file.custom import complaints, home_of, parts_of
from lmkit.spec_file.locate import at, locate, objects, step
from lmkit.spec_file.phrases import NAME, Complaint, choices, flow, mapping_of, one_of, shown, wrong_value
from lmkit.spec_file.spec import RunSpec
from lmkit.spec_file.tree import CHOSEN_BY_KEY, UNREADABLE, Node, Path, child, dotted, leaves, plain

ROUNDS = 12
MAPPINGS = ("dict_type", "model_type", "model_attributes_type")


def parsed(data: Any) -> RunSpec:
    """The spec that plain mappings, lists and scalars make; raises ValueError at the first layer of what is wrong."""
    return RunSpec.model_validate(data, by_alias=True, by_name=False)


def validate(tree: Node) -> tuple[RunSpec | None, list[Problem], list[Problem]]:
    """(spec, problems, warnings); there is a spec only where there are no problems."""
    state = _Examination(tree)
    spec = state.mend_until_valid()
    if spec is None:
        return None, state.problems, []
    state.check_code(spec)
    warnings = state.check_rules(spec)
    return (None if state.problems else spec), state.problems, warnings


class _Examination:
    """The data while it is mended, what was found, and which paths are no longer what the user wrote."""

    def __init__(self, tree: Node) -> None:
        self.tree = tree
        self.data = plain(tree)
        self.problems: list[Problem] = []
        self.broken: set[Path] = set()  # taken out or made up
        self.renamed: dict[Path, Path] = {}  # mended path -> path as written
        for path, node in leaves(tree):
            if node.value is UNREADABLE:
                self._forget(path)
        self.edits: list[Callable[[], Any]] = []  # what mends the data, done when everything is noted

    def _forget(self, path: Path) -> None:
        """Leaves out the mapping entry around a value whose text was refused; that was said already."""
        while path and not isinstance(path[-1], str):
            path = path[:-1]
        if path and not self.is_broken(path):
            at(self.data, path[:-1]).pop(path[-1])
            self.broken.add(path)

    # ---- where things stand

    def node(self, path: Path) -> tuple[Node, Path]:
        """The deepest written node on a path, and how much of the path it is."""
        node = self.tree
        reached: Path = ()
        written: Path = ()
        for part in path:
            reached = (*reached, part)
            written = self.renamed.get(reached, (*written, part))
            found = child(node, written[-1])
            if found is None:
                return node, reached[:-1]
            node = found
        return node, path

    def note(self, path: Path, what: str, *, key: bool = False) -> None:
        """A problem at the value of a path, or at its key; where nothing is written there, at the null that took it out or the section."""
        if self.is_broken(path):
            return
        node, reached = self.node(path)
        where = node.section_at if key or reached != path else node.at
        if reached != path and (null := node.nulls.get(str(path[len(reached)]))):
            where, what = null, what.replace("missing; add", "is null (or empty) and has no default; write", 1)
        self.problems.append(Problem(what, dotted(path), where))

    def is_broken(self, path: Path) -> bool:
        return any(path[: len(b)] == b for b in self.broken)

    # ---- types, key by key

    def mend_until_valid(self) -> RunSpec | None:
        """Validates, notes and mends until pydantic is content; None where it cannot be made content."""
        for _ in range(ROUNDS):
            try:
                return parsed(self.data)
            except ValidationError as error:
                groups: dict[Path, list[Complaint]] = {}
                for complaint in error.errors(include_url=False):
                    groups.setdefault(self._path(complaint), []).append(dict(complaint))
                for path, complaints in sorted(groups.items(), key=lambda group: group[1][0]["type"] == "missing"):
                    self._examine(path, complaints)
                if not self.edits:
                    for complaint in [] if self.problems else error.errors(include_url=False):
                        self.note(self._path(complaint), complaint["msg"])
                    return None
                for edit in self.edits:
                    edit()
                self.edits.clear()
        return None

    def _path(self, complaint: Any) -> Path:
        if complaint["type"] in ("missing", "extra_forbidden"):
            return (*locate(complaint["loc"][:-1], self.data), complaint["loc"][-1])
        return locate(complaint["loc"], self.data)

    def _examine(self, path: Path, complaints: list[Complaint]) -> None:
        first = complaints[0]
        if first["type"] == "extra_forbidden":
            self._unknown_key(path, first["loc"][:-1])
        elif first["type"] == "missing":
            self._missing_key(path, first["loc"])
        elif first["type"] in ("union_tag_invalid", "union_tag_not_found"):
            self._unknown_variant(path, first)
        elif first["loc"] and first["loc"][-1] == "[key]":
            self.note(path, f"expected {NAME}, got {shown(path[-1])}", key=True)
            self._take_out(path)
        else:
            self._wrong_value(path, complaints)

    def _wrong_value(self, path: Path, complaints: list[Complaint]) -> None:
        value = at(self.data, path)
        classes, field = words.walk(complaints[0]["loc"])
        node, _ = self.node(path)
        if classes and value is not None and all(c["type"] in MAPPINGS for c in complaints):
            self.note(path, f"expected {mapping_of(classes, field, value)}, got {shown(value)}")
        elif value in ({}, []) and field is not None and field.examples:
            self.note(path, f"is empty; write for example {path[-1]}: {flow(field.examples[0])}")
        else:
            self.note(path, wrong_value(complaints, value, quoted=node.quoted, required=field is not None and field.is_required()))
        literal = all(c["type"] == "literal_error" for c in complaints) and isinstance(value, str)
        near = words.nearest(value, [word for c in complaints for word in choices(c)]) if literal else []
        if near:
            self._replace(path, near[0])
        else:
            self._take_out(path)

    def _unknown_key(self, path: Path, location: Path) -> None:
        parent, key = at(self.data, path[:-1]), str(path[-1])
        if not isinstance(parent, dict):
            return
        here = words.walk(location)[0]
        known = list(dict.fromkeys(name for cls in here for name in words.fields(cls)))
        called = words.SYNONYMS.get(key, key)
        elsewhere = [home for home in words.homes(called) if home != dotted(locate(location, self.data))]
        siblings = words.walk(location[:-1])[0] if any(words.tag(cls) == location[-1] for cls in here if location) else []
        others = [name for cls in siblings for name in words.fields(cls)]
        near = words.nearest(key, known if location else [*known, "extends"]) or words.nearest(key, others)
        beside = list(dict.fromkeys(words.tag(cls).strip("<>") for cls in siblings if key in words.fields(cls) and cls not in here))
        chooser = next((k for k in parent if k in CHOSEN_BY_KEY and k != key), None)
        if key in CHOSEN_BY_KEY and chooser:
            self.note(path, f"{chooser} and {key} exclude each other here; keep one", key=True)
        elif beside:
            self.note(path, f"does not go with {parent.get('kind') or chooser or 'this'}; it belongs to {' or '.join(beside)}", key=True)
        elif elsewhere and called not in known:
            places = " or ".join(home or "the top level" for home in elsewhere[:3])
            self.note(path, f"unknown key here; {'it' if called == key else called} belongs under {places}", key=True)
        elif near:
            self.note(path, f"unknown key; did you mean {' or '.join(near)}?", key=True)
            if len(near) == 1 and near[0] not in parent and parent[key] is not None:
                self._rename(path, near[0])
                return
        else:
            self.note(path, f"unknown key; the keys here are {', '.join(known)}", key=True)
        self.edits.append(lambda: parent.pop(key, None))

    def _missing_key(self, path: Path, location: Path) -> None:
        if path in self.renamed:
            return
        _, field = words.walk(location)
        example = (field.examples or [None])[0] if field is not None else None
        self.note(path, f"missing; add for example {path[-1]}: {flow(example)}" if example is not None else "missing", key=True)
        if example is not None:
            self.edits.append(lambda: self._make_up(path, example))

    def _make_up(self, path: Path, example: Any) -> None:
        """Puts an example where a key is missing, unless the branch was taken out for what else is wrong in it."""
        with contextlib.suppress(KeyError, IndexError):
            self._break(path, self._long_form(path[:-1]).setdefault(str(path[-1]), copy.deepcopy(example)))

    def _long_form(self, path: Path) -> dict[str, Any]:
        """The mapping at a path, made of a scalar that is short for one."""
        found = at(self.data, path)
        if not isinstance(found, dict):
            found = at(self.data, path[:-1])[path[-1]] = {"kind": found}
        return found

    def _unknown_variant(self, path: Path, complaint: Complaint) -> None:
        value = at(self.data, path)
        allowed = choices(complaint) or [words.tag(cls) for cls in words.walk(complaint["loc"])[0]]
        by_key = [word for word in allowed if word in CHOSEN_BY_KEY]
        kinds = [word for word in allowed if word not in by_key]
        slips = [(key, near) for key in value if (near := words.nearest(key, [*by_key, "kind"]))] if isinstance(value, dict) else []
        if isinstance(value, dict) and "kind" in value:
            self._unknown_kind((*path, "kind"), value["kind"], kinds)
        elif slips:
            key, near = slips[0]
            self.note((*path, key), f"unknown key; did you mean {' or '.join(near)}?", key=True)
            self._rename((*path, key), near[0])
        elif isinstance(value, dict):
            ways = [f"kind: {word}" for word in kinds] + [f"{word}: ..." for word in by_key]
            self.note(path, f"does not say which kind it is; add {' or '.join(ways)}", key=True)
            self._take_out(path)
        elif isinstance(value, str) and not by_key:
            self._unknown_kind(path, value, kinds)
        else:
            classes = [cls for cls in words.walk(complaint["loc"])[0] if words.tag(cls).strip("<>") in allowed]
            self.note(path, f"expected {mapping_of(classes, None, value)}, got {shown(value)}")
            self._take_out(path)

    def _unknown_kind(self, path: Path, value: Any, kinds: list[str]) -> None:
        self.note(path, one_of(value, kinds))
        near = words.nearest(value, kinds) if isinstance(value, str) else []
        if near:
            self._replace(path, near[0])
        else:
            self._take_out(path[:-1] if path[-1] == "kind" else path)

    def _rename(self, path: Path, meant: str) -> None:
        parent, target = at(self.data, path[:-1]), (*path[:-1], meant)
        self.renamed[target] = self.renamed.get(path, path)
        self.edits.append(lambda: parent.update({meant: parent.pop(path[-1])}) if path[-1] in parent else None)

    def _replace(self, path: Path, value: Any) -> None:
        parent = at(self.data, path[:-1])
        self.edits.append(lambda: parent.__setitem__(path[-1], value))

    def _take_out(self, path: Path) -> None:
        """Removes the nearest mapping entry around a wrong value; with the key that chooses a variant, the whole variant."""
        while path and (not isinstance(path[-1], str) or path[-1] in CHOSEN_BY_KEY):
            path = path[:-1]
        if path:
            parent = at(self.data, path[:-1])
            self.edits.append(lambda: self._break(path, parent.pop(path[-1], None)))

    def _break(self, path: Path, _: Any) -> None:
        self.broken.add(path)

    # ---- rules between keys

    def check_rules(self, spec: RunSpec) -> list[Problem]:
        """Notes what the rules find, and returns the warnings."""
        written = []
        for location, branch in objects(spec):
            path = locate(location, self.data)
            if not self.is_broken(path) or not path:
                written.append((location, path, branch))
        for _, path, branch in written:
            self._punch_holes(path, branch)
        for location, _, branch in written:
            for rule in branch.rules():
                for key, what in self._heard(rule):
                    self._note_rule(self._joined(location, key), what)
        aside, self.problems = self.problems, []
        for location, _, branch in written:
            for key, what in self._heard(branch.warnings):
                self._note_rule(self._joined(location, key), what)
        warnings, self.problems = self.problems, aside
        return warnings

    def check_code(self, spec: RunSpec) -> None:
        """Notes what is wrong with the files, classes and keywords of custom parts."""
        for location, part in parts_of(spec).items():
            path = locate(location, self.data)
            if any(self.is_broken((*path, key)) for key in words.fields(type(part))):
                continue
            home = home_of(self.node((*path, "class"))[0].at)
            for found in complaints(part, home):
                here = (*path, *found.key)
                if found.where:
                    self.problems.append(Problem(found.what, dotted(here), found.where))
                else:
                    self.note(here, found.what, key=len(found.key) > 1)

    def _punch_holes(self, path: Path, branch: Spec) -> None:
        """Makes broken keys unreadable, so that a rule about them fails instead of judging a made-up value."""
        for broken in self.broken:
            for key in words.fields(type(branch)):
                here = (*path, key)
                if broken == here or (broken[:-1] == here and isinstance(branch.__dict__.get(key), dict)):
                    branch.__dict__.pop(attribute(key), None)

    def _note_rule(self, path: Path, what: str) -> None:
        self.note(path, what, key=isinstance(self.node(path)[0].value, dict))

    def _heard(self, rule: Any) -> list[tuple[str, str]]:
        try:
            return list(rule())
        except AttributeError:
            if not self.broken:
                raise
            return []

    def _joined(self, location: Path, key: str) -> Path:
        path = locate(location, self.data)
        data = at(self.data, path)
        for word in key.split(".") if key else ():
            part: str | int = int(word) if word.isdigit() and isinstance(data, list) else word
            if step(data, part):
                data = data[part]
                path = (*path, part)
            elif not word.isdigit():
                path = (*path, part)
                data = None
        return path
