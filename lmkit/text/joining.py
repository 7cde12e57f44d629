"""Words joined to a text; apart from what finds them in tokens, so that reading a spec needs no numpy."""

import unicodedata
from collections.abc import Sequence


def join_words(words: Sequence[str], glued: Sequence[bool] = ()) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The words with a blank between two of them, none between Chinese or Japanese characters; and [from, to) of each word.

    `glued[i]` says that no blank stands between word i and the next.
    """
    text, spans = "", []
    for number, word in enumerate(words):
        if text and not (glued and glued[number - 1]) and not (_unspaced(text[-1]) and _unspaced(word[0])):
            text += " "
        spans.append((len(text), len(text) + len(word)))
        text += word
    return text, tuple(spans)


def _unspaced(character: str) -> bool:
    """Of a script that puts no blanks between words, or its punctuation."""
    return unicodedata.east_asian_width(character) in "WF" and not "\uac00" <= character <= "\ud7a3"
