"""The text a vocabulary is learned from: a bounded, even sample in short parts, and its alphabet."""

import unicodedata
from collections.abc import Collection, Iterable, Iterator

import numpy as np

from lmkit.text.units import cut

PART = 8192  # characters
UNBROKEN = 1024  # characters; trainers take time quadratic in the length of a word


def sample(texts: Iterable[str], limit: int) -> list[str]:
    """Parts of the texts, about `limit` characters at most: all of them, else every 2nd, 4th, 8th ... of the whole stream."""
    kept: list[str] = []
    held, stride, number = 0, 1, 0
    for text in texts:
        for part in _short(text):
            if number % stride == 0:
                kept.append(part)
                held += len(part)
                if held > limit:
                    kept = kept[::2]
                    held, stride = sum(map(len, kept)), stride * 2
            number += 1
    return kept


def _short(text: str) -> Iterator[str]:
    for part in cut(text, PART):
        if len(part) <= 2 * PART:
            yield part
        else:  # no white space for a long way
            yield from (part[at : at + UNBROKEN] for at in range(0, len(part), UNBROKEN))


def codepoints(text: str) -> np.ndarray:
    """uint32[len(text)]"""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _gathered(parts: Iterable[str], size: int = 2**22) -> Iterator[str]:
    held: list[str] = []
    length = 0
    for part in parts:
        held.append(part)
        length += len(part) + 1
        if length >= size:
            yield "\n".join(held)
            held, length = [], 0
    if held:
        yield "\n".join(held)


def count_characters(parts: Iterable[str]) -> dict[str, int]:
    """How often each character occurs; a line break is counted between parts too."""
    counts = np.zeros(0x110000, np.int64)
    for text in _gathered(parts):
        counts += np.bincount(codepoints(text), minlength=0x110000)
    return {chr(c): int(counts[c]) for c in np.flatnonzero(counts)}


def common(counts: dict[str, int], *, least: int, room: int, twice: Collection[str] = frozenset(), coverage: float = 0.9999) -> set[str]:
    """The most frequent characters that make up `coverage` of the text, each at least `least` times.

    They take `room` rows of the vocabulary at most, those of `twice` two each.
    """
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    needed, covered, kept = coverage * sum(counts.values()), 0, set()
    for character, count in ranked:
        room -= 2 if character in twice else 1
        if count < least or covered >= needed or room < 0:
            break
        kept.add(character)
        covered += count
    return kept


def without(parts: list[str], kept: set[str], counts: dict[str, int]) -> list[str]:
    """The parts with every character that is not kept turned into a blank."""
    table = {ord(c): " " for c in counts if c not in kept and not c.isspace()}
    return [part.translate(table) for part in parts] if table else parts


def inside_words(parts: Iterable[str]) -> set[str]:
    """Characters that come after another one of the same word, words ending at white space and punctuation."""
    found = np.zeros(0x110000, bool)
    wordlike = np.zeros(0x110000, bool)
    known = np.zeros(0x110000, bool)
    for text in _gathered(parts):
        points = codepoints(text)
        present = np.bincount(points, minlength=0x110000) > 0
        for c in np.flatnonzero(present & ~known):
            wordlike[c] = not (chr(c).isspace() or _is_punctuation(chr(c)))
        known |= present
        inside = wordlike[points]
        found[points[1:][inside[1:] & inside[:-1]]] = True
    return {chr(c) for c in np.flatnonzero(found)}


def _is_punctuation(character: str) -> bool:
    return (character.isascii() and not character.isalnum()) or unicodedata.category(character).startswith("P")
