"""Conversations in records: the messages of a chat, an instruction and its answer, or a prompt with a better and a worse answer."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from lmkit.data.document import Document, Message
from lmkit.data.roles import as_text, field
from lmkit.errors import DataError, Problem

if TYPE_CHECKING:
    from lmkit.text.chat import ChatTemplate, TrainOn

SPEAKERS = {
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "chatgpt", "bot", "model"),
    "system": ("system", "developer"),
    "tool": ("tool", "function", "observation", "ipython"),
}
_KNOWN = {name: speaker for speaker, names in SPEAKERS.items() for name in names}
Talk = tuple[Message, ...]


def read_conversation(record: Mapping[str, Any], columns: Mapping[str, str], where: str, *, replace: bool) -> dict[str, Any]:
    """The fields of a Document that the roles of a conversation name: its messages, those with the worse answer, and all as text.

    `system` and `input` may be missing or empty. Raises DataError with the place `where` for anything that is no message.
    """
    reader = _Reader(record, columns, where, replace)
    opening = reader.opening()
    if "rejected" in columns:
        chosen, rejected = (reader.ended(role, opening) for role in ("chosen", "rejected"))
        return {"messages": chosen, "rejected": rejected, "text": _joined(chosen), "pair": _joined(rejected)}
    messages = (*opening, *reader.talk("messages"), *reader.said("response", "assistant"))
    return {"messages": messages, "text": _joined(messages)}


def asked(prompt: str, system: str | None, where: str) -> Talk:
    """What stands before an answer: a prompt, or messages as JSON, with what the system says before it."""
    return _Reader({"prompt": prompt, "system": system}, {"prompt": "prompt", "system": "system"}, where, False).opening()


class Told(NamedTuple):
    """A document with its conversations as texts, and the parts of these that are encoded apart."""

    document: Document
    first: tuple[str, ...]
    second: tuple[str, ...]


def told(document: Document, chat: "ChatTemplate", train_on: "TrainOn") -> Told:
    """The document with its text, its pair and what is learned of them written by the template; of two answers each is learned."""
    assert document.messages is not None
    if document.rejected is None:
        only = chat.training(document.messages, train_on, document.where)
        return Told(replace(document, text=only.text, counted=only.learned), only.parts, ())
    first, second = (chat.training(messages, "last", document.where) for messages in (document.messages, document.rejected))
    made = replace(document, text=first.text, counted=first.learned, pair=second.text, counted_pair=second.learned)
    return Told(made, first.parts, second.parts)


class _Reader:
    """One record and how its fields are called."""

    def __init__(self, record: Mapping[str, Any], columns: Mapping[str, str], where: str, replace: bool) -> None:
        self.record, self.columns, self.where, self.replace = record, columns, where, replace

    def opening(self) -> Talk:
        """What the system and the user say before anything else."""
        system = self.said("system", "system", needed=False)
        if not _is_text(self._value("prompt")):
            return (*system, *self.talk("prompt"))
        asked = [message["content"] for message in (*self.said("prompt", "user"), *self.said("input", "user", needed=False))]
        return (*system, {"role": "user", "content": "\n\n".join(asked)})

    def ended(self, role: str, opening: Talk) -> Talk:
        """A conversation that a role's answer ends, be it a text, the last messages, or all of them."""
        if _is_text(self._value(role)):
            return (*opening, *self.said(role, "assistant"))
        found = self.talk(role)
        if not found or found[-1]["role"] != "assistant":
            raise self._wrong("the last message must be the assistant's answer", self.columns[role])
        return found if found[: len(opening)] == opening else (*opening, *found)

    def said(self, role: str, speaker: str, *, needed: bool = True) -> Talk:
        """One message, or none where there is no such role, or its text is empty and not `needed`."""
        value = self._value(role)
        if role not in self.columns or (not needed and (value is None or value == "")):
            return ()
        content = self._text(field(self.record, self.columns[role], self.where), self.columns[role])
        if needed and not content.strip():
            raise self._wrong("is empty; give it a text or remove the record", self.columns[role])
        return ({"role": speaker, "content": content},)

    def talk(self, role: str) -> Talk:
        """The messages of a role, a list or a list as JSON; none where there is no such role."""
        if role not in self.columns:
            return ()
        name = self.columns[role]
        value = field(self.record, name, self.where)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise self._wrong(f'expected messages [{{"role": ..., "content": ...}}], got the text "{value[:40]}"', name) from None
        if not isinstance(value, list | tuple) or not value:
            also = "" if role == "messages" else "a text or "
            raise self._wrong(f'expected {also}a list of messages [{{"role": ..., "content": ...}}], with one or more', name)
        return tuple(self._message(message, f"{name}[{i}]") for i, message in enumerate(value))

    def _message(self, value: Any, name: str) -> Message:
        speaker, content = ("from", "value") if isinstance(value, Mapping) and "from" in value else ("role", "content")
        if not isinstance(value, Mapping) or not isinstance(value.get(speaker), str):
            raise self._wrong('a message is {"role": ..., "content": ...} or {"from": ..., "value": ...}', name)
        if value[speaker] not in _KNOWN:
            raise self._wrong(f'"{value[speaker]}" is no speaker; those known are {", ".join(_KNOWN)}', name)
        said = value.get(content)
        if said is None and "tool_calls" in value:
            said = ""
        if isinstance(said, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in said):
            said = "".join(self._text(part.get("text"), f"{name}.{content}") for part in said)
        more = {key: item for key, item in value.items() if key not in (speaker, content) and item is not None}
        return {"role": _KNOWN[value[speaker]], "content": self._text(said, f"{name}.{content}"), **more}

    def _value(self, role: str) -> Any:
        return self.record.get(self.columns.get(role, ""))

    def _text(self, value: Any, name: str) -> str:
        return as_text(value, name, self.where, self.replace)

    def _wrong(self, what: str, name: str) -> DataError:
        return DataError(Problem(what, name, self.where))


def _is_text(value: Any) -> bool:
    """Whether this is no list of messages, nor one as JSON: a prompt may itself be, or begin with, other JSON."""
    if not isinstance(value, str) or not value.lstrip().startswith("[{"):
        return isinstance(value, str)
    try:
        found = json.loads(value)
    except ValueError:
        return True
    return not all(isinstance(each, dict) and each.keys() & {"role", "from"} for each in found)


def _joined(messages: Talk) -> str:
    return "\n".join(message["content"] for message in messages)
