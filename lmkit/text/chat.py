"""Chat templates: from messages to the text that a model reads, by a Jinja template run in a sandbox as transformers runs it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import jinja2

from lmkit.errors import DataError, Problem, SpecError
from lmkit.text.sandbox import CLOSE, OPEN, Template

Message = Mapping[str, Any]
TrainOn = Literal["responses", "all", "last"]
Span = tuple[int, int]

GUARD = "\ufdd2"  # a noncharacter of Unicode inside control tokens that a message forges
MARKS = re.compile(f"([{OPEN}{CLOSE}{GUARD}])")
GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
DAY = datetime(2024, 7, 26)  # what templates call today in training text, so that it is the same on every day


@dataclass(frozen=True)
class Rendered:
    """A conversation as text. `parts` are to be encoded one by one: no control token of theirs comes from a message.

    `learned` are characters [from, to) of `text` that the loss counts, where the end of the document is one more character.
    """

    parts: tuple[str, ...]
    learned: tuple[Span, ...]

    @property
    def text(self) -> str:
        return "".join(self.parts)


class ChatTemplate:
    """A template's Jinja text, with the tokenizer's special tokens by key (`eos_token`), and all its control tokens with whether each is
    special: no message forges them, but those that are not, such as the ends of a thought, the assistant itself may write.

    Raises SpecError where the text is no template.
    """

    def __init__(self, source: str, *, special: Mapping[str, str], controls: Mapping[str, bool]) -> None:
        self.source, self.special, self.controls = source, dict(special), tuple(sorted(controls, key=len, reverse=True))
        self._forged, self._forged_by_itself = _any(self.controls), _any([token for token in self.controls if controls[token]])
        try:
            self._template = Template(source)
        except Exception as error:  # it is foreign code: what it cannot be compiled for is its own
            line = f", line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
            raise SpecError(Problem(f"the chat template cannot be read{line}: {_said(error)}", "data.chat_template")) from None

    def prompt(self, messages: Sequence[Message], where: str = "") -> Rendered:
        """What stands before the answer to come. Raises DataError, as all of these do, where the template refuses the messages."""
        return self._render(messages, where, prompt=True, day=datetime.now())

    def training(self, messages: Sequence[Message], train_on: TrainOn, where: str = "") -> Rendered:
        """A whole conversation with what is learned of it: what the assistant says, or its last turn, or all.

        The template's `{% generation %}` blocks tell its turns from others. Where it has none, a turn is what is added to the
        rendering of the messages before it, prompt included; a template that writes those otherwise later on is refused.
        """
        whole = self._render(messages, where)
        text = whole.text
        if train_on == "all":
            spans = [(0, len(text))]
        elif GENERATION.search(self.source):
            spans = [*whole.learned][-1 if train_on == "last" else 0 :]
        else:
            turns = [i for i, message in enumerate(messages) if message.get("role") == "assistant"]
            spans = [self._turn(messages[: i + 1], text, where) for i in turns[-1 if train_on == "last" else 0 :]]
        if not any(begin < end for begin, end in spans):
            raise DataError(Problem("no turn of the assistant to learn from; remove the record, or write train_on: all", "messages", where))
        if spans[-1][1] == len(text) and not text.rstrip().endswith(self.controls):
            spans[-1] = (spans[-1][0], len(text) + 1)
        return Rendered(whole.parts, tuple(spans))

    @cached_property
    def turn_end(self) -> str | None:
        """The control token that ends a turn of the assistant, None where there is none."""
        text = self._render([{"role": "user", "content": "a"}, {"role": "assistant", "content": "QED"}], "").text
        behind = text[text.rindex("QED") + 3 :] if "QED" in text else ""
        found = [(behind.find(token), -len(token), token) for token in self.controls if token in behind]
        return min(found)[2] if found else None

    def _turn(self, messages: Sequence[Message], text: str, where: str) -> Span:
        """Where the last of the messages stands in the text of the whole conversation; a control token at its end belongs to it."""
        before, after = self._render(messages[:-1], where, prompt=True).text, self._render(messages, where).text
        if not (text.startswith(after) and after.startswith(before)):
            what = f"the template writes the turns before number {len(messages)} otherwise once it follows; "
            hint = "mark the assistant's turns in it by {% generation %}, or write train_on: last"
            raise DataError(Problem(what + hint, "messages", where))
        end = len(after.rstrip()) if after.rstrip().endswith(self.controls) else len(after)
        return len(before), max(end, len(before))

    def _render(self, messages: Sequence[Message], where: str, *, prompt: bool = False, day: datetime = DAY) -> Rendered:
        given = [
            _guarded(message, self._forged_by_itself if message.get("role") == "assistant" else self._forged, where) for message in messages
        ]
        try:
            made = self._template.render(
                messages=given, add_generation_prompt=prompt, tools=None, documents=None, strftime_now=day.strftime, **self.special
            )
        except Exception as error:  # it is foreign code: whatever goes wrong in it is its own
            raise DataError(Problem(f"the chat template refuses this: {_said(error)}", "messages", where)) from None
        parts, learned, at, begin = [""], list[Span](), 0, 0
        for piece in MARKS.split(made):
            if piece == OPEN:
                begin = at
            elif piece == CLOSE:
                learned.append((begin, at))
            elif piece == GUARD:
                parts.append("")
            else:
                parts[-1] += piece
                at += len(piece)
        return Rendered(tuple(part for part in parts if part), tuple(learned))


def _any(tokens: Sequence[str]) -> re.Pattern[str] | None:
    """The first character of any of these tokens."""
    return re.compile(f"(?=(?:{'|'.join(map(re.escape, tokens))}))(.)", re.DOTALL) if tokens else None


def _guarded(value: Any, forged: re.Pattern[str] | None, where: str) -> Any:
    """The same data, where every control token in a text is cut behind its first character."""
    if isinstance(value, Mapping):
        return {key: _guarded(item, forged, where) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_guarded(item, forged, where) for item in value]
    if not isinstance(value, str):
        return value
    if MARKS.search(value):
        raise DataError(Problem("holds a noncharacter of Unicode (U+FDD0 to U+FDD2); take it out", "messages", where))
    return value if forged is None else forged.sub(rf"\1{GUARD}", value)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
