"""Where sentences end: at line breaks, or at the terminators of the world's scripts.

A sentence keeps its closing quotes and brackets; the white space between two sentences belongs to the later one, so that
tokenizing sentence by sentence gives the ids of the whole text.
"""

import re
from collections.abc import Iterator
from typing import Literal

ABBREVIATION = re.compile(
    r"mr|mrs|ms|dr|prof|rev|hon|st|sr|jr|messrs|mme|mlle|gen|col|capt|lt|sgt|maj|gov|sen|rep|pres|supt|vs|etc|cf|al|ca|viz|approx|dept"
    r"|univ|assn|bros|inc|ltd|co|corp|figs?|eqs?|ch|sec|vols?|nos?|pp|eds?|trans|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?"
    r"|wed|thu|thurs?|fri|sat|sun|ave|blvd|rd|mt|ft|e\.g|i\.e|a\.m|p\.m|u\.s|u\.k|u\.n|ph\.d|b\.c|a\.d",
    re.IGNORECASE,
)
SPACED = ".!?…؟۔։።។॥।"  # end a sentence before white space
UNSPACED = "。！？；｡．"  # end one anywhere
CLOSERS = "\"'”’»)\\]}）」』】》〉〕"
ENDING = re.compile(
    rf"(?P<mark>[{UNSPACED}](?:[{UNSPACED}{SPACED}]|(?<=[!?！？。])[!?])*|[{SPACED}]+)[{CLOSERS}]*(?P<gap>\s+|$)?|(?P<break>\n[^\S\n]*\n\s*)"
)
WORD_BEFORE = re.compile(r"[^\W\d_](?:[\w.]*\w)?$")
CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")


def split_sentences(text: str, rule: Literal["line", "rules"]) -> list[str]:
    """Sentences whose concatenation is `text`; none of them is white space alone unless the whole text is."""
    sentences = []
    start, last = 0, len(text.rstrip())
    for end in _line_ends(text) if rule == "line" else _ends(text):
        while end > start and text[end - 1].isspace():
            end -= 1
        if start < end < last and not text[start:end].isspace():
            sentences.append(text[start:end])
            start = end
    if start < len(text):
        sentences.append(text[start:])
    return sentences


def _line_ends(text: str) -> Iterator[int]:
    at = text.find("\n")
    while at >= 0:
        yield at
        at = text.find("\n", at + 1)


def _ends(text: str) -> Iterator[int]:
    for found in ENDING.finditer(text):
        if found["break"] is not None:
            yield found.start()
            continue
        end = found.end() if found["gap"] is None else found.start("gap")
        if _is_end(text, found["mark"], found.start(), end, found["gap"]):
            yield end


def _is_end(text: str, mark: str, at: int, end: int, gap: str | None) -> bool:
    if mark[0] in UNSPACED:
        return True
    if gap is None:  # no white space follows: only Chinese, Japanese and Korean end a sentence so
        return mark[0] in "…!?" and (_cjk(text, at - 1) or _cjk(text, end))
    if not gap:
        return True
    follows = text[end + len(gap) : end + len(gap) + 1]
    if follows.islower() and (mark[0] in ".…" or "\n" not in gap):
        return False
    return not (mark == "." and _abbreviated(text, at))


def _cjk(text: str, at: int) -> bool:
    return 0 <= at < len(text) and CJK.match(text[at]) is not None


def _abbreviated(text: str, at: int) -> bool:
    word = WORD_BEFORE.search(text, max(0, at - 12), at)
    if word is None:
        return False
    letters = word.group()
    return (len(letters) == 1 and letters.isupper() and letters != "I") or ABBREVIATION.fullmatch(letters) is not None
