"""Rows of a decoder that answers texts: the text, what stands between, and the answer, read on as one."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from lmkit.data.rows import Rows
from lmkit.text.template import Frame, Template


def prompting(template: Template, separator: Iterable[int]) -> Template:
    """The template with the separator's tokens between two texts, and nothing around them."""
    return replace(template, pair=Frame(((), tuple((int(index), 0) for index in separator), ()), (0, 0)))


def most_read(width: int, target_length: int, template: Template) -> int:
    """Tokens of a text that is answered in a row of `width`, at most: half of what there is stays for the answer, or what it may have."""
    room = width - template.pair.extra
    return max(room - min(target_length, room // 2), 1)


def prompt_rows(first: np.ndarray, second: np.ndarray, width: int, target_length: int, template: Template) -> Rows:
    """One row a record: span i and, behind it, span count + i, of these lengths; a text gives way until its answer has half of the row."""
    count, room = len(first), width - template.pair.extra
    read = np.minimum(first, np.maximum(most_read(width, target_length, template), room - second))
    length = read, np.minimum(np.minimum(second, target_length), room - read)
    return Rows(
        np.arange(count + 1) * 2,
        np.stack([np.arange(count), np.arange(count) + count], 1).ravel(),
        np.zeros(2 * count, np.int64),
        np.stack(length, 1).ravel().astype(np.int64),
        np.arange(count),
    )
