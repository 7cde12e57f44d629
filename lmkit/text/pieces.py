"""What single tokens stand for: bytes, beginnings of words, fillers that pad a vocabulary to its size."""

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

FILLER = re.compile(r"<unused\d+>")
CJK = 0x2E80  # from here on the characters are mostly ideographs, kana and their punctuation: each is a word
INCOMPLETE = "�"


def is_filler(piece: str) -> bool:
    """True for a row that only makes the vocabulary as large as asked; no text gives it."""
    return FILLER.fullmatch(piece) is not None


def fillers(count: int) -> list[str]:
    return [f"<unused{i}>" for i in range(count)]


def is_byte_level(tokenizer: dict[str, Any]) -> bool:
    """Whether pieces are bytes written as GPT-2's printable characters."""
    decoder = tokenizer.get("decoder") or {}
    return any(part.get("type") == "ByteLevel" for part in (decoder, *decoder.get("decoders", ())))


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's character for each byte: itself where printable, else 256 + n."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


BYTES = _byte_alphabet()


def to_bytes(piece: str, scheme: str) -> bytes:
    """UTF-8 bytes a piece stands for; `scheme` is bytes, wordpiece or text (where ▁ is a space)."""
    if scheme == "bytes":
        return b"".join(bytes([BYTES[c]]) if c in BYTES else c.encode() for c in piece)
    if scheme == "wordpiece":
        return (piece[2:] if piece.startswith("##") else " " + piece).encode()
    byte = re.fullmatch(r"<0x([0-9A-F]{2})>", piece)
    return bytes.fromhex(byte.group(1)) if byte else piece.replace("▁", " ").encode()


def readable(piece: str, byte_level: bool) -> str:
    return to_bytes(piece, "bytes").decode("utf-8", "replace") if byte_level else piece


def byte_lengths(pieces: Sequence[str | None], specials: Collection[int], scheme: str) -> np.ndarray:
    """int32[V], 0 for specials and absent pieces."""
    return np.array([0 if piece is None or i in specials else len(to_bytes(piece, scheme)) for i, piece in enumerate(pieces)], np.int32)


def word_starts(pieces: Sequence[str | None], specials: Collection[int], scheme: str) -> np.ndarray:
    """bool[V]; specials and absent pieces count as words of their own."""
    return np.array([piece is None or i in specials or _starts_word(piece, scheme) for i, piece in enumerate(pieces)], bool)


def _starts_word(piece: str, scheme: str) -> bool:
    if scheme == "wordpiece":
        return not piece.startswith("##")
    raw = to_bytes(piece, scheme)
    if not raw or 0x80 <= raw[0] < 0xC0:
        return False  # goes on inside a character
    first = raw.decode("utf-8", "replace")[0]
    if first == INCOMPLETE:
        return raw[0] >= 0xE2  # the lead byte of what is most likely an ideograph or a symbol
    return not (first.isalnum() or first == "'") or ord(first) >= CJK
