"""Writing a text to a text (Sutskever et al., 2014): what a decoder reads, beside an encoder or alone, and what it learns."""

import numpy as np

from lmkit.tasks.rows import TokenRows
from lmkit.text.template import Frame


def features(rows: TokenRows, *, start: int) -> dict[str, np.ndarray]:
    """The decoder's side of the rows' `target`, as `written` makes it."""
    assert rows.target is not None, "seq2seq reads rows of two sides"
    return written(rows.target.tokens, rows.target.segments > 0, start=start)


def prompted(rows: TokenRows, *, eos: int) -> dict[str, np.ndarray]:
    """labels [B, T]: the token after each cell, eos behind the last; weights [B, T] float32: 1 from before the answer's first token on."""
    real, place = rows.segments > 0, np.arange(rows.tokens.shape[1])
    labels = np.roll(rows.tokens, -1, axis=1)
    labels[np.arange(len(labels)), np.maximum(real.sum(axis=1) - 1, 0)] = eos
    answer = np.cumsum(rows.first, axis=1).argmax(axis=1)
    return {"labels": labels, "weights": (real & (place >= answer[:, None] - 1)).astype(np.float32)}


def written(labels: np.ndarray, real: np.ndarray, *, start: int) -> dict[str, np.ndarray]:
    """labels [B, T]; weights [B, T] float32: 1 where they are `real`; and decoder/tokens, segments and positions [B, T]: the
    decoder reads `start` and then the labels but the last.
    """
    read = np.roll(labels, 1, axis=1)
    read[:, 0] = start
    return {
        "labels": labels,
        "weights": real.astype(np.float32),
        "decoder/tokens": np.where(real, read, labels),
        "decoder/segments": real.astype(np.int32),
        "decoder/positions": np.where(real, np.arange(labels.shape[1], dtype=np.int32), 0),
    }


def framed(tokens: np.ndarray, kept: np.ndarray, frame: Frame, width: int, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [B, width] of the `kept` tokens of each row [B, T], within a frame, and bool [B, width] where such stand; empty rows stay so."""
    lead, tail = ([index for index, _ in gap] for gap in frame.gaps)
    count = kept.sum(axis=1)
    out = np.full((len(tokens), width), pad, np.int32)
    row, cell = np.nonzero(kept)
    out[row, len(lead) + np.cumsum(kept, axis=1)[row, cell] - 1] = tokens[row, cell]
    for i, index in enumerate(lead):
        out[count > 0, i] = index
    for i, index in enumerate(tail):
        out[count > 0, (len(lead) + count + i)[count > 0]] = index
    return out, np.arange(width) < np.where(count > 0, count + frame.extra, 0)[:, None]
