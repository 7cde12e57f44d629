"""The file of a SentencePiece model, read as data: its pieces and how it treats text, of a protobuf message what is needed."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np

MOST_PIECES = 2_000_000
LONGEST_VARINT = 10  # bytes
UNIGRAM, BPE = 1, 2


class Kind(IntEnum):
    """What a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER = 4  # always cut out of a text whole
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """A piece of the vocabulary; its place is its id."""

    text: str
    score: float
    kind: Kind


@dataclass
class PieceModel:
    """What the file says; defaults are those of its format."""

    pieces: list[Piece] = field(default_factory=list)
    kind: int = UNIGRAM
    byte_fallback: bool = False
    charsmap: bytes = b""  # replaces characters before all else
    prefix: bool = True  # a space before the text
    single_spaces: bool = True  # none around the text, and one where there are several
    marks_spaces: bool = True
    space_behind: bool = False  # pieces end with the space that others begin with


def read_pieces(data: bytes) -> PieceModel:
    """Reads the bytes of a `.model` or `.spm` file. Raises ValueError where they are none, or one of more pieces than are read."""
    made = PieceModel()
    try:
        for number, value in _fields(data):
            if number == 1:
                made.pieces.append(_piece(_bytes(value)))
                if len(made.pieces) > MOST_PIECES:
                    raise ValueError(f"has more than {MOST_PIECES} pieces")
            elif number == 2:
                _trainer(made, _bytes(value))
            elif number == 3:
                _normalizer(made, _bytes(value))
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"is no SentencePiece model: {error}") from None
    if not made.pieces:
        raise ValueError("is no SentencePiece model: it has no pieces")
    return made


def _piece(data: bytes) -> Piece:
    text, score, kind = "", 0.0, Kind.NORMAL
    for number, value in _fields(data):
        if number == 1:
            text = _bytes(value).decode("utf-8")
        elif number == 2:
            score = float(str(np.float32(struct.unpack("<f", _bytes(value))[0])))  # its shortest digits, which JSON keeps
        elif number == 3:
            kind = Kind(_int(value))
    return Piece(text, score, kind)


def _trainer(made: PieceModel, data: bytes) -> None:
    for number, value in _fields(data):
        if number == 3:
            made.kind = _int(value)
        elif number == 24:
            made.space_behind = bool(_int(value))
        elif number == 35:
            made.byte_fallback = bool(_int(value))


def _normalizer(made: PieceModel, data: bytes) -> None:
    for number, value in _fields(data):
        if number == 2:
            made.charsmap = _bytes(value)
        elif number == 3:
            made.prefix = bool(_int(value))
        elif number == 4:
            made.single_spaces = bool(_int(value))
        elif number == 5:
            made.marks_spaces = bool(_int(value))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message by number: an integer, or the bytes of what is no integer."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value: int | bytes
            value, at = _varint(data, at)
        elif wire in (1, 2, 5):
            size, at = (8, at) if wire == 1 else (4, at) if wire == 5 else _varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"is no SentencePiece model: a field of kind {wire}")
        if at > len(data):
            raise ValueError("is no SentencePiece model, or is cut off")
        yield number, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(LONGEST_VARINT):
        byte = data[at + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError("is no SentencePiece model: a number without an end")


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("is no SentencePiece model: bytes for a number")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("is no SentencePiece model: a number for bytes")
    return value
