"""What a field of a record can be to a document, and how its value is read; each error says what was expected and what is there."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmkit.errors import DataError, Problem
from lmkit.text.joining import join_words

LIST = '["one", "other"]'
SEPARATOR = ","  # between the labels of a text that is no list
NOWHERE = -1  # the first character of an answer whose place nobody says
CONVERSATION = ("messages", "system", "prompt", "input", "response", "chosen", "rejected")  # read by data/conversations.py
OPTIONAL = ("system", "input")  # a record may lack these
CONVERSATIONS = (("messages",), ("response",), ("chosen", "rejected"))  # what makes a conversation of a record
ROLES = ("text", "words", "text_pair", "label", "labels", "value", "tags", "answers", "target", "choices", *CONVERSATION)


def read_roles(
    record: Mapping[str, Any], columns: Mapping[str, str], where: str, *, replace: bool, separator: str = SEPARATOR
) -> dict[str, Any]:
    """The fields of a Document that `columns` (role: field) name, those of conversations left out; `separator` ends a label in a text.

    Raises DataError with the place `where` for a wrong value."""

    def value(role: str) -> Any:
        return field(record, columns[role], where)

    def text(role: str) -> str:
        return as_text(value(role), columns[role], where, replace)

    found: dict[str, Any] = {}
    for role, name in columns.items():
        match role:
            case "text" if "tags" not in columns:
                found["text"] = text(role)
            case "text" | "words":
                words = as_words(value(role), name, where, replace)
                found["text"], found["words"] = join_words(words)
                if "tags" in columns:
                    found["tags"] = as_words(value("tags"), columns["tags"], where, replace)
                    if len(words) != len(found["tags"]):
                        raise DataError(Problem(f"{len(found['tags'])} tags where {name!r} has {len(words)} words", columns["tags"], where))
            case "text_pair":
                found["pair"] = text(role)
            case "choices":
                found["choices"] = as_choices(_chosen_fields(record, name, where), name, where, replace)
            case "label" if "choices" in columns:
                given = _chosen_fields(record, columns["choices"], where)
                choices = as_choices(given, columns["choices"], where, replace)
                found["label"] = as_choice(value(role), choices, _called(given, columns["choices"], where), name, where)
            case "label":
                found["label"] = as_label(value(role), name, where)
            case "labels":
                found["labels"] = as_labels(value(role), name, where, separator)
            case "value":
                found["value"] = as_number(value(role), name, where)
            case "answers":
                found["answers"] = as_answers(value(role), name, where)
            case "target":
                found["target"] = as_targets(value(role), name, where, replace)
    return found


def fields_of(columns: Mapping[str, str]) -> list[str]:
    """All fields that the roles name: choices may stand in several, with commas between their names."""
    return [part for role, name in columns.items() for part in (_parts(name) if role == "choices" else [name])]


def _parts(name: str) -> list[str]:
    return [part.strip() for part in name.split(",")]


def _chosen_fields(record: Mapping[str, Any], name: str, where: str) -> Any:
    """The value of a field with several choices, or the values of several fields with one each."""
    parts = _parts(name)
    return field(record, name, where) if len(parts) == 1 else [field(record, part, where) for part in parts]


def unlabelled(record: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[str, str]:
    """(field, what is there) of the first label that a record leaves open: null, nothing but blanks or, of one label, -1; else ("", "").

    An empty list of labels, tags or answers says that there are none; in a table an empty text is that list.
    """
    for role in ("label", "labels", "value", "tags", "answers", "target"):
        if role in columns:
            value = record.get(columns[role])
            if value is None:
                return columns[role], "null" if columns[role] in record else "missing"
            if role in ("label", "value", "target") and isinstance(value, str) and not value.strip():
                return columns[role], "empty"
            if role == "label" and not isinstance(value, bool) and value in (-1, "-1"):
                return columns[role], "-1"
    return "", ""


def conversational(roles: Iterable[str]) -> bool:
    """Whether records with these roles are conversations."""
    return any(role in CONVERSATION for role in roles)


def field(record: Mapping[str, Any], name: str, where: str) -> Any:
    """A record's value; DataError where it is missing or null."""
    if name not in record:
        found = ", ".join(map(repr, list(record)[:12])) or "none"
        raise DataError(Problem(f"field is missing; the record has {found}{near(name, record)}", name, where))
    if record[name] is None:
        raise DataError(Problem("field is null; give it a value, remove the record or, of a label, write unlabelled: skip", name, where))
    return record[name]


def near(name: str, found: Iterable[str]) -> str:
    """`; did you mean ...?` where a name is much like another, else nothing."""
    close = difflib.get_close_matches(name, list(found), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def as_text(value: Any, name: str, where: str, replace: bool) -> str:
    if not isinstance(value, str):
        raise _wrong("text", value, name, where)
    if "\0" in value:
        if not replace:
            raise DataError(Problem("holds a NUL character (encoding_errors: replace lets it pass)", name, where))
        value = value.replace("\0", "�")
    try:
        value.encode()
    except UnicodeEncodeError:
        if not replace:
            raise DataError(Problem("holds half of a surrogate pair (encoding_errors: replace lets it pass)", name, where)) from None
        value = value.encode("utf-8", "replace").decode()
    return value


def as_label(value: Any, name: str, where: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise _wrong("a label (text or a whole number)", value, name, where)
    label = as_text(value, name, where, replace=False).strip()
    if not label:
        raise DataError(Problem("the label is empty; label the record, remove it, or write unlabelled: skip", name, where))
    return label


def as_labels(value: Any, name: str, where: str, separator: str = SEPARATOR) -> tuple[str, ...]:
    """A list of labels, which a table may hold as JSON, or labels with `separator` between them in one text; none is allowed."""
    value = _unpacked(value, LIST, name, where)
    if isinstance(value, str):
        value = [part for part in value.split(separator) if part.strip()]
    labels = tuple(as_label(each, name, where) for each in as_list(value, "a list of labels", name, where))
    repeated = next((label for label in labels if labels.count(label) > 1), None)
    if repeated is not None:
        raise DataError(Problem(f'the label "{repeated}" stands twice', name, where))
    return labels


def as_number(value: Any, name: str, where: str) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise DataError(Problem(f'expected a number, got "{value[:40]}"', name, where)) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong("a number", value, name, where)
    if not math.isfinite(value):
        raise DataError(Problem(f"expected a finite number, got {value}", name, where))
    return float(value)


def as_words(value: Any, name: str, where: str, replace: bool) -> tuple[str, ...]:
    """A list of words (whole numbers are read as text), which a table may hold as JSON, or words separated by blanks in one text."""
    value = _unpacked(value, LIST, name, where)
    words = value.split() if isinstance(value, str) else as_list(value, "a list of words", name, where)
    texts = tuple(str(word) if type(word) is int else as_text(word, name, where, replace) for word in words)
    if any(not text.strip() for text in texts):
        raise DataError(Problem("a word is empty", name, where))
    return texts


def as_answers(value: Any, name: str, where: str) -> tuple[tuple[int, str], ...]:
    """SQuAD's answers: {text: [...], answer_start: [...]} or a list of {text: ..., answer_start: ...}; none is allowed.

    A table holds them as JSON. Texts alone stand NOWHERE.
    """
    value = _unpacked(value, '[{"text": ..., "answer_start": ...}]', name, where)
    if isinstance(value, str):
        value = [value] if value.strip() else []
    if isinstance(value, dict) and isinstance(value.get("text"), Sequence) and not isinstance(value["text"], str):
        starts = as_list(value.get("answer_start"), "answer_start, a list", name, where)
        if len(starts) != len(value["text"]):
            raise DataError(Problem(f"{len(value['text'])} texts with {len(starts)} answer_start", name, where))
        value = [{"text": text, "answer_start": start} for text, start in zip(value["text"], starts, strict=True)]
    elif isinstance(value, dict):
        value = [value]
    found = []
    for each in as_list(value, "a list of answers", name, where):
        answer = {"text": each} if isinstance(each, str) else each
        if not isinstance(answer, dict) or type(answer.get("answer_start", NOWHERE)) is not int or not isinstance(answer.get("text"), str):
            raise DataError(Problem('an answer is {"text": ..., "answer_start": its first character}', name, where))
        found.append((answer.get("answer_start", NOWHERE), answer["text"]))
    return tuple(found)


def _unpacked(value: Any, example: str, name: str, where: str) -> Any:
    """A value, or what a cell of a table holds of it as JSON. Raises DataError where that begins as a list or an object and is none."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise DataError(Problem(f"begins as JSON and is none: {str(error).lower()}; write {example}", name, where)) from None


def as_targets(value: Any, name: str, where: str, replace: bool) -> tuple[str, ...]:
    """One text, or a list of texts that are all right."""
    texts = (value,) if isinstance(value, str) else tuple(as_list(value, "text or a list of texts", name, where))
    if not texts:
        raise DataError(Problem("no text to learn; give one or remove the record", name, where))
    return tuple(as_text(text, name, where, replace) for text in texts)


def as_choices(value: Any, name: str, where: str, replace: bool) -> tuple[str, ...]:
    """A list of two texts or more, which a table holds as JSON; Hugging Face's {text: [...], label: [...]} is one too."""
    value = _unpacked(value, LIST, name, where)
    if isinstance(value, str):
        raise DataError(Problem(f"expected a list such as {LIST}, or a field for each choice", name, where))
    if isinstance(value, dict):
        value = value.get("text")
    choices = tuple(as_text(each, name, where, replace) for each in as_list(value, "a list of choices", name, where))
    if len(choices) < 2:
        raise DataError(Problem(f"two choices or more are needed, got {len(choices)}", name, where))
    if any(not choice.strip() for choice in choices):
        raise DataError(Problem("a choice is empty", name, where))
    return choices


def _called(value: Any, name: str, where: str) -> tuple[str, ...]:
    """What Hugging Face's choices are called; nothing where they are but texts. Raises DataError where that is another number of them."""
    value = _unpacked(value, LIST, name, where)
    if not isinstance(value, dict) or "label" not in value:
        return ()
    called = as_labels(value["label"], f"{name}.label", where)
    if len(called) != len(value["text"]):
        raise DataError(Problem(f"{len(value['text'])} choices are called by {len(called)} labels", f"{name}.label", where))
    return called


def as_choice(value: Any, choices: Sequence[str], called: Sequence[str], name: str, where: str) -> str:
    """The place of the right choice, from 0, as text: given as what it is `called`, where that is said, else as its place, or a letter from
    A on; or as one of the choices.
    """
    label = as_label(value, name, where)
    if label in called:
        return str(called.index(label))
    if isinstance(value, str) and label in choices:
        return str(choices.index(label))
    if called:
        raise DataError(Problem(f'"{label[:40]}" is none of the choices; write {", ".join(called)}, or its text', name, where))
    place = ord(label.upper()) - ord("A") if len(label) == 1 and label.isalpha() else int(label) if label.isdecimal() else -1
    if not 0 <= place < len(choices):
        last = len(choices) - 1
        what = f'"{label[:40]}" is none of the {len(choices)} choices; write 0 to {last}, A to {chr(ord("A") + last)}, or its text'
        raise DataError(Problem(what, name, where))
    return str(place)


def as_list(value: Any, expected: str, name: str, where: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise _wrong(expected, value, name, where)
    return value


def _wrong(expected: str, value: Any, name: str, where: str) -> DataError:
    return DataError(Problem(f"expected {expected}, got {_kind(value)}", name, where))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list | tuple) else "an object" if isinstance(value, dict) else type(value).__name__
