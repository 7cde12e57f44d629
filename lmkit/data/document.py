"""One document as a source gives it: a text, and what its record says of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]  # `role`, `content` and what else a chat template may ask for


@dataclass(frozen=True, slots=True)
class Document:
    """Text with its place; all else only where the source names fields for it.

    `pair` is a second text, `label` one label and `labels` any number of them, `value` a number. `words` are the characters
    [from, to) of the words of `text`, `tags` a label for each, `lines` where each stands if not all do on `line`. `answers` are
    (first character, text) of answers that stand in `pair`; empty, there is none. `target` are texts that say the same, of which the
    first is learned. `counted` are the characters [from, to) of `text` that a language model learns, in order, where the end of the
    document is one more character; None: all.
    `choices` are texts of which one goes with `text`, and `label` is its place then, from 0.
    `messages` are a conversation that becomes `text` when a chat template is at hand, `rejected` one with a worse answer, to become
    `pair`, of which `counted_pair` is learned.
    `id` is what its file calls it, beside the line; `record` is all that its file says of it, where that was asked for.
    `more` means that the next Document goes on with the same text: files of any size pass through in parts.
    """

    text: str
    pair: str | None = None
    label: str | None = None
    file: str = ""
    line: int = 1
    more: bool = False
    labels: tuple[str, ...] | None = None
    value: float | None = None
    words: tuple[tuple[int, int], ...] = ()
    lines: tuple[int, ...] = ()
    tags: tuple[str, ...] | None = None
    answers: tuple[tuple[int, str], ...] | None = None
    target: tuple[str, ...] | None = None
    counted: tuple[tuple[int, int], ...] | None = None
    choices: tuple[str, ...] | None = None
    messages: tuple[Message, ...] | None = None
    rejected: tuple[Message, ...] | None = None
    counted_pair: tuple[tuple[int, int], ...] | None = None
    id: str = ""
    record: Mapping[str, Any] | None = None

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}" + (f" ({self.id})" if self.id else "")


def numbered(documents: Iterable[Document]) -> Iterator[tuple[int, Document]]:
    """The documents with their places among all that their source gives, from 0; the parts of one share its place."""
    number = 0
    for document in documents:
        yield number, document
        number += not document.more
