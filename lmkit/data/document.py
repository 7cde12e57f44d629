"""One document as a source gives it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """Text with its place; `pair` and `label` where the source names fields for them.

    `more` means that the next Document goes on with the same text: files of any size pass through in parts.
    """

    text: str
    pair: str | None = None
    label: str | None = None
    file: str = ""
    line: int = 1
    more: bool = False

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"
