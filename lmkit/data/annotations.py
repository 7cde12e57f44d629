"""What records say of their texts, as columns of a cache: one class a role, fed a document at a time."""

from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.data.columns import ColumnWriter
from lmkit.data.document import Document
from lmkit.data.roles import SEPARATOR
from lmkit.errors import Problem
from lmkit.scores.tags import ENTITY_TAG, beginnings
from lmkit.tasks.classification import label_order
from lmkit.text.words import first_tokens

SEPARATORS = ",;|"  # that labels are often joined by
NONE = -1  # a token without a tag, a question without an answer

Open = Callable[[str, Any], ColumnWriter]  # name and dtype to a new column


class Names:
    """Numbers for labels in the order of their coming, and at the end those of their sorted names."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    @property
    def sorted(self) -> list[str]:
        return sorted(self._numbers, key=label_order)

    def final(self, numbers: array) -> np.ndarray:
        """int32: the places of numbered names in `sorted`; NONE stays."""
        place = np.full(len(self._numbers) + 1, NONE, np.int32)
        for i, name in enumerate(self.sorted):
            place[self._numbers[name]] = i
        return place[np.asarray(numbers)]


class Labels:
    """`labels` int32 [n]: the one label of each document."""

    def __init__(self, open: Open) -> None:
        self.names, self._column, self._numbers = Names(), open("labels", np.int32), array("i")

    def add(self, document: Document, tokens: "Offsets", pair: "Offsets") -> None:
        self._numbers.append(self.names.number(document.label or ""))

    def finish(self) -> dict[str, list[str]]:
        self._column.append(self.names.final(self._numbers))
        return {"labels": self.names.sorted}


class LabelSets:
    """`sets` int32 and `set_documents` int64 [n + 1]: document i has the labels sets[set_documents[i]:set_documents[i + 1]]."""

    def __init__(self, open: Open, separator: str = SEPARATOR) -> None:
        self.names, self._column, self._edges = Names(), open("sets", np.int32), open("set_documents", np.int64)
        self._numbers = array("i")
        self._edges.append(np.zeros(1, np.int64))
        self._first: dict[str, str] = {}  # where each label stands first
        self._several, self._separator = False, separator

    def add(self, document: Document, tokens: "Offsets", pair: "Offsets") -> None:
        labels = document.labels or ()
        self._numbers.extend(self.names.number(label) for label in labels)
        self._edges.append(np.array([len(self._numbers)]))
        self._several |= len(labels) > 1
        for label in labels:
            if label not in self._first:
                self._first[label] = document.where

    def remarks(self) -> Iterator[str]:
        """Labels that look like several: no text has two, or what they are joined of are labels too."""
        for other in SEPARATORS.replace(self._separator, ""):
            joined = {label: parts for label in self._first if all(parts := [part.strip() for part in label.split(other)]) and parts[1:]}
            if joined and not (self._several and not any(self._first.keys() >= set(parts) for parts in joined.values())):
                label = next(iter(joined))
                what = f'{len(joined)} labels look like several with "{other}" between them, the first is "{label[:40]}"'
                yield str(Problem(f'{what}; if they are, write label_separator: "{other}" under the source', "labels", self._first[label]))

    def finish(self) -> dict[str, list[str]]:
        self._column.append(self.names.final(self._numbers))
        return {"sets": self.names.sorted}


class Values:
    """`values` float64 [n]."""

    def __init__(self, open: Open) -> None:
        self._column = open("values", np.float64)

    def add(self, document: Document, tokens: "Offsets", pair: "Offsets") -> None:
        self._column.append(np.array([document.value]))

    def finish(self) -> dict[str, list[str]]:
        return {}


class Tags:
    """`tags` int32 [tokens]: a word's tag at its first token, NONE at its others and where no word is.

    Where words have lines of their own, `tag_lines` int64 [tokens] are these at the same tokens.
    """

    def __init__(self, open: Open) -> None:
        self.names, self._column, self._numbers = Names(), open("tags", np.int32), array("i")
        self._open, self._lines = open, array("q")
        self._lost, self._first = 0, ("", "", "")  # entities without a beginning: how many, and tag, word and place of the first
        self._begun = False  # whether others have one

    def add(self, document: Document, tokens: "Offsets", pair: "Offsets") -> None:
        inside, outside = beginnings(document.tags or ())
        if inside and not self._lost and document.tags:
            begin, end = document.words[inside[0]]
            line = document.lines[inside[0]] if document.lines else document.line
            self._first = document.tags[inside[0]], document.text[begin:end], f"{document.file}:{line}"
        self._lost += len(inside)
        self._begun |= bool(outside)
        column = np.full(len(tokens), NONE, np.int32)
        first = first_tokens(document.words, tokens)
        column[first[first >= 0]] = np.array([self.names.number(tag) for tag in document.tags or ()])[first >= 0]
        self._numbers.frombytes(column.tobytes())
        if document.lines:
            lines = np.zeros(len(tokens), np.int64)
            lines[first[first >= 0]] = np.array(document.lines)[first >= 0]
            self._lines.frombytes(lines.tobytes())

    def remarks(self) -> Iterator[str]:
        """Tags of entities that go on with none, where such a tag is not how entities begin here (IOB1)."""
        if self._lost and self._begun and all(map(ENTITY_TAG.fullmatch, self.names.sorted)):
            tag, word, where = self._first
            what = f"{self._lost:,} tag{'s go' if self._lost > 1 else ' goes'} on with an entity that does not stand before them"
            what += f', the first is {tag} of "{word[:40]}"; each counts as the beginning of one; is something cut off there?'
            yield str(Problem(what, "tags", where))

    def finish(self) -> dict[str, list[str]]:
        self._column.append(self.names.final(self._numbers))
        if self._lines:
            self._open("tag_lines", np.int64).append(np.asarray(self._lines))
        return {"tags": self.names.sorted}


class Counted:
    """`counted` int8 [tokens]: 1 where what follows the token is learned, be it the next token or the end of the document."""

    def __init__(self, open: Open) -> None:
        self._column = open("counted", np.int8)

    def add(self, document: Document, tokens: "Offsets", pair: "Offsets") -> None:
        self._column.append(followed(tokens, document.counted or (), len(document.text)))

    def finish(self) -> dict[str, list[str]]:
        return {}


class CountedPair:
    """`pair_counted` int8 [tokens of the pairs]: as `counted`."""

    def __init__(self, open: Open) -> None:
        self._column = open("pair_counted", np.int8)

    def add(self, document: Document, tokens: "Offsets", pair: "Offsets") -> None:
        self._column.append(followed(pair, document.counted_pair or (), len(document.pair or "")))

    def finish(self) -> dict[str, list[str]]:
        return {}


class Answers:
    """`answer_first` and `answer_last` int64 [n]: the tokens of the pair that hold the first answer, NONE where there is none."""

    def __init__(self, open: Open) -> None:
        self._columns = open("answer_first", np.int64), open("answer_last", np.int64)

    def add(self, document: Document, tokens: "Offsets", pair: "Offsets") -> None:
        for column, token in zip(self._columns, _answer(document, pair), strict=True):
            column.append(np.array([token]))

    def finish(self) -> dict[str, list[str]]:
        return {}


Offsets = np.ndarray  # [n, 2]: the first character of each token and the one behind it
Annotation = Labels | LabelSets | Values | Tags | Answers | Counted | CountedPair
Remarking = LabelSets | Tags
_KINDS: dict[str, type[Annotation]] = {"label": Labels, "labels": LabelSets, "value": Values, "tags": Tags, "answers": Answers}
_KINDS |= {"messages": Counted, "response": Counted, "chosen": Counted, "rejected": CountedPair}
ALIGNED = ("tags", "answers", "messages", "response", "rejected")  # need to know where tokens stand


def annotations(roles: Collection[str], folder: Path, columns: dict[str, ColumnWriter], separator: str) -> list[Annotation]:
    """Those of a source with these roles, whose texts of several labels `separator` divides; their columns are added to `columns`."""

    def open(name: str, dtype: Any) -> ColumnWriter:
        return columns.setdefault(name, ColumnWriter(folder / f"{name}.npy", dtype))

    return [LabelSets(open, separator) if kind is LabelSets else kind(open) for role, kind in _KINDS.items() if role in roles]


def _answer(document: Document, pair: Offsets) -> tuple[int, int]:
    if not document.answers:
        return NONE, NONE
    start, answer = document.answers[0]
    inside = np.flatnonzero((pair[:, 0] < start + len(answer)) & (pair[:, 1] > start))
    return (int(inside[0]), int(inside[-1])) if len(inside) else (NONE, NONE)


def followed(tokens: Offsets, learned: Sequence[tuple[int, int]], end: int) -> np.ndarray:
    """bool: what follows each token of a text of `end` characters touches one of the spans that are learned."""
    begin, behind = np.append(tokens, [[end, end + 1]], axis=0).T
    spans = np.array(learned or ((end + 1, end + 1),))
    reached = np.searchsorted(spans[:, 0], np.maximum(behind, begin + 1)) - 1
    return ((reached >= 0) & (begin < spans[reached, 1]))[1:]
