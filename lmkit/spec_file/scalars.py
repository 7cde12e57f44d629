"""YAML 1.2 core scalars, and the texts that YAML 1.1 and 1.2 read differently."""

import math
import re

NULLS = ("", "~", "null", "Null", "NULL")
TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)$")
HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+$")
OCTAL = re.compile(r"0o[0-7]+$")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")
AMBIGUOUS = re.compile(r"[-+]?(0[0-9]+|[0-9][0-9]*_[0-9_.]*|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)$")
MOST_DIGITS = 40


def scalar(text: str) -> bool | int | float | str | None:
    """What an unquoted scalar means; raises ValueError, with the fix, for a number that cannot be meant so.

    >>> scalar("1e-4"), scalar("no"), scalar("2024-01-01"), scalar("0x1F")
    (0.0001, 'no', '2024-01-01', 31)
    """
    if text in NULLS:
        return None
    if text in TRUTH:
        return TRUTH[text]
    if AMBIGUOUS.match(text):
        raise ValueError(f'ambiguous number {_cut(text)}; write it in plain digits, or "{_cut(text)}" in quotes if it is text')
    if NOT_FINITE.match(text):
        raise ValueError(f"{text} is no usable number; it must be finite")
    number = INTEGER.match(text) or HEXADECIMAL.match(text) or OCTAL.match(text)
    if number and len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits is too long; at most {MOST_DIGITS} are read")
    if number:
        return int(text, 10 if INTEGER.match(text) else 0)
    if FLOAT.match(text):
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{_cut(text)} is too large for a number; it must be finite")
        return value
    return text


def _cut(text: str) -> str:
    return text if len(text) <= MOST_DIGITS else text[:MOST_DIGITS] + "..."
