"""What a tokenizer puts around texts: the special tokens before, between and behind one text or two, and their token types."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from lmkit.errors import CheckpointError

Special = tuple[int, int]  # id, token type
Truncate = Literal["end", "start", "head_tail"]  # what a text that is too long loses: its end, its beginning, its middle
HEAD = 128  # tokens that stand before a lost middle (Sun et al., 2019)


@dataclass(frozen=True)
class Frame:
    """A row of n texts: `gaps[i]` stands before text i, `gaps[n]` behind the last; `types` are those of the texts."""

    gaps: tuple[tuple[Special, ...], ...]
    types: tuple[int, ...]

    @property
    def extra(self) -> int:
        """Special tokens of a row."""
        return sum(map(len, self.gaps))


class Row(NamedTuple):
    """Ids and token types [T], int32; text i lies at `begins[i]` and has `lengths[i]` tokens, counted from its first one.

    `segments` says where its segments begin, which do not see one another.
    """

    ids: np.ndarray
    types: np.ndarray
    begins: tuple[int, ...]
    lengths: tuple[int, ...]
    segments: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Template:
    """The frames of one text and of two, and of one that a decoder writes beside an encoder, where that is known."""

    single: Frame
    pair: Frame
    written: Frame = field(default=Frame(((), ()), (0,)), repr=False)

    @property
    def frames(self) -> tuple[Frame, Frame]:
        return self.single, self.pair

    def behind(self, start: int) -> "Template":
        """The same with `written` for a decoder that begins with the token `start`: a row of one text, less a first token that is it."""
        first, last = self.single.gaps
        return replace(self, written=Frame((first[1:] if first and first[0][0] == start else first, last), self.single.types))

    def row(self, first: np.ndarray, second: np.ndarray | None = None, *, max_length: int | None = None, truncate: Truncate = "end") -> Row:
        """The row of one text or two, the longer cut until it has at most `max_length` tokens; special tokens always stay."""
        frame = self.single if second is None else self.pair
        texts = [first] if second is None else [first, second]
        if max_length is not None:
            budget = max(max_length - frame.extra, 0)
            lengths = [budget] if second is None else list(map(int, longest_first(len(first), len(texts[1]), budget)))
            texts = [_shortened(text, length, truncate) for text, length in zip(texts, lengths, strict=True)]
        ids: list[np.ndarray] = []
        types: list[np.ndarray] = []
        begins: list[int] = []
        at = 0
        for i, gap in enumerate(frame.gaps):
            ids.append(np.array([index for index, _ in gap], np.int32))
            types.append(np.array([kind for _, kind in gap], np.int32))
            at += len(gap)
            if i < len(texts):
                begins.append(at)
                ids.append(np.asarray(texts[i], np.int32))
                types.append(np.full(len(texts[i]), frame.types[i], np.int32))
                at += len(texts[i])
        return Row(np.concatenate(ids), np.concatenate(types), tuple(begins), tuple(map(len, texts)))


def longest_first(first: Any, second: Any, budget: Any) -> tuple[Any, Any]:
    """How many tokens of two texts (numbers or arrays of them) stay in a row of `budget` (one, or one for each), the longer cut first.

    As the tokenizers library: where both are cut to half of an odd budget, the longer keeps the odd one, the second of equals.
    """
    half = np.where(np.greater(first, second), (budget + 1) // 2, budget // 2)
    kept = np.minimum(first, np.maximum(budget - np.asarray(second), half))
    return kept, np.minimum(second, budget - kept)


def joined_rows(rows: Sequence[Row]) -> Row:
    """One row of several, each a segment of its own."""
    sizes = [len(row.ids) for row in rows]
    at = [sum(sizes[:i]) for i in range(len(rows))]
    begins = tuple(start + begin for start, row in zip(at, rows, strict=True) for begin in row.begins)
    lengths = tuple(length for row in rows for length in row.lengths)
    return Row(np.concatenate([row.ids for row in rows]), np.concatenate([row.types for row in rows]), begins, lengths, tuple(at))


def before_cut(kept: Any, truncate: Truncate) -> Any:
    """Of the tokens that are kept of a text that is cut (numbers or arrays), how many are its first ones; the others are its last."""
    match truncate:
        case "end":
            return kept
        case "start":
            return np.zeros_like(kept)
        case "head_tail":
            return np.minimum(HEAD, kept // 2)


def _shortened(text: np.ndarray, length: int, truncate: Truncate) -> np.ndarray:
    if len(text) <= length:
        return text
    first = int(before_cut(length, truncate))
    return np.concatenate([text[:first], text[len(text) - (length - first) :]])


def bare() -> Template:
    """Nothing around a text, nothing between two."""
    return Template(Frame(((), ()), (0,)), Frame(((), (), ()), (0, 1)))


def wrapped(bos: int, eos: int) -> Template:
    """`bos A eos` and `bos A eos B eos` (BERT); a role of -1 adds nothing."""
    opened = ((bos, 0),) if bos >= 0 else ()
    closed, last = (((eos, 0),), ((eos, 1),)) if eos >= 0 else ((), ())
    return Template(Frame((opened, closed), (0,)), Frame((opened, closed, last), (0, 1)))


def repeated(bos: int, eos: int) -> Template:
    """Each of the texts with its own bos before and eos behind it (a role of -1 adds nothing), as flags of a Llama folder ask for."""
    opened = [((bos, kind),) if bos >= 0 else () for kind in (0, 1)]
    closed = [((eos, kind),) if eos >= 0 else () for kind in (0, 1)]
    return Template(Frame((opened[0], closed[0]), (0,)), Frame((opened[0], closed[0] + opened[1], closed[1]), (0, 1)))


def template_of(processor: Mapping[str, Any] | None) -> Template:
    """The template that the `post_processor` of a tokenizer.json describes. Raises CheckpointError for a kind that is not known."""
    if processor is None:
        return bare()
    match processor["type"]:
        case "ByteLevel":
            return bare()
        case "BertProcessing":
            return wrapped(int(processor["cls"][1]), int(processor["sep"][1]))
        case "RobertaProcessing":
            cls, sep = (int(processor["cls"][1]), 0), (int(processor["sep"][1]), 0)
            return Template(Frame(((cls,), (sep,)), (0,)), Frame(((cls,), (sep, sep), (sep,)), (0, 0)))
        case "TemplateProcessing":
            special = processor["special_tokens"]
            return Template(_frame(processor["single"], special, "A"), _frame(processor["pair"], special, "AB"))
        case "Sequence":
            found = [template_of(part) for part in processor["processors"]]
            return next((template for template in reversed(found) if template != bare()), bare())
    raise CheckpointError(f"its post_processor {processor['type']} is not known")


def _frame(pieces: Sequence[Mapping[str, Any]], special: Mapping[str, Any], names: str) -> Frame:
    gaps: list[list[Special]] = [[]]
    types: list[int] = []
    order = ""
    for piece in pieces:
        if "Sequence" in piece:
            order += piece["Sequence"]["id"]
            types.append(int(piece["Sequence"]["type_id"]))
            gaps.append([])
        else:
            token = piece["SpecialToken"]
            gaps[-1].extend((int(index), int(token["type_id"])) for index in special[token["id"]]["ids"])
    if order != names:
        raise CheckpointError(f"its post_processor puts the texts in the order {order or 'of none'}, expected {names}")
    return Frame(tuple(map(tuple, gaps)), tuple(types))
