"""Prefix language modelling (T5, section 3.2.1): the rest of a text is written to its beginning, which is seen in both directions."""

from zlib import crc32

import numpy as np

from lmkit.counting import mix
from lmkit.tasks.rows import TokenRows
from lmkit.tasks.seq2seq import framed, written
from lmkit.text.template import Template

PREFIX = crc32(b"prefix_lm")


def prefixes(rows: TokenRows) -> np.ndarray:
    """int32 [B]: how many of a row's n text tokens are its prefix, each of 1 to n - 1 being equally likely; 0 where n is below 2.

    Each follows from the row key alone.
    """
    length = rows.text.sum(axis=1)
    return np.where(length > 1, 1 + mix(rows.row_key, PREFIX) % np.maximum(length - 1, 1).astype(np.uint32), 0).astype(np.int32)


def one_stack(rows: TokenRows) -> dict[str, np.ndarray]:
    """labels [B, T]: the token after each cell; weights [B, T] float32: 1 from the last of the prefix on; prefix_length [B]."""
    assert rows.following is not None, "prefix_lm reads rows that say what follows"
    prefix = prefixes(rows)
    learned = rows.text & (np.arange(rows.text.shape[1]) >= prefix[:, None] - 1) & (prefix[:, None] > 0)
    return {"labels": rows.following, "weights": learned.astype(np.float32), "prefix_length": prefix}


def two_sides(rows: TokenRows, *, template: Template, start: int, pad: int) -> dict[str, np.ndarray]:
    """The prefix for the encoder, framed as a text of its own, and the rest for the decoder, as tasks/seq2seq.py has it."""
    prefix, width = prefixes(rows), rows.tokens.shape[1]
    before = np.arange(width) < prefix[:, None]
    tokens, real = framed(rows.tokens, rows.text & before, template.single, width, pad)
    rest = rows.text & ~before & (prefix[:, None] > 0)
    labels, counted = framed(rows.tokens, rest, template.written, width, pad)
    return {
        "tokens": tokens,
        "segments": real.astype(np.int32),
        "positions": np.where(real, np.arange(width, dtype=np.int32), 0),
        "token_types": np.zeros_like(tokens),
    } | written(labels, counted, start=start)
