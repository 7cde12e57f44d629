"""The words of a text: where each stands, and which tokens open it."""

import unicodedata
from collections.abc import Sequence

import numpy as np

Spans = Sequence[tuple[int, int]]  # the first character of each word and the one behind it


def split_words(text: str, tokens_N2: np.ndarray, opens_N: np.ndarray) -> list[tuple[int, int]]:
    """The words of running text: a token for which `opens` says so begins one, blanks around them left out."""
    edges = np.flatnonzero(np.append(opens_N, True))
    edges = edges if len(edges) and edges[0] == 0 else np.insert(edges, 0, 0)
    found = []
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        start, stop = trimmed(text, int(tokens_N2[first, 0]), int(tokens_N2[end - 1, 1]))
        if start < stop:
            found.append((start, stop))
    return found


def behind_marks(text: str, tokens_N2: np.ndarray) -> np.ndarray:
    """bool [N]: a blank or a mark stands before the token, so that it goes on with no word; an apostrophe is part of one."""
    return np.array([not _goes_on(text[start - 1]) if start else True for start in tokens_N2[:, 0].tolist()], bool)


def _goes_on(character: str) -> bool:
    return character.isalnum() or character in "'’" or unicodedata.category(character)[0] == "M"


def trimmed(text: str, start: int, stop: int) -> tuple[int, int]:
    """[start, stop) without the blanks at its ends."""
    part = text[start:stop]
    return start + len(part) - len(part.lstrip()), stop - len(part) + len(part.rstrip())


def first_tokens(words: Spans, tokens_N2: np.ndarray) -> np.ndarray:
    """int64 [words]: the first token of each word, which ends in it and behind all words before; -1 where there is none."""
    found = np.full(len(words), -1, np.int64)
    word = np.searchsorted([start for start, _ in words], tokens_N2[:, 1] - 1, side="right") - 1
    opening = np.flatnonzero(np.diff(word, prepend=-1) > 0)
    found[word[opening]] = opening
    return found
