"""Rows of two sides: the first text for an encoder, the second for the decoder beside it, which writes it."""

from dataclasses import replace

import numpy as np

from lmkit.data.layout import Corpus, lay
from lmkit.data.rows import Rows
from lmkit.tasks.rows import TokenRows
from lmkit.text.template import Template
from lmkit.text.tokenizer import Tokenizer


def side_rows(first: np.ndarray, second: np.ndarray, width: int, target_width: int, template: Template) -> Rows:
    """One row a record: span i, and span count + i for what is written, of these lengths; each side is cut for itself."""
    count = len(first)
    document = np.arange(count)
    length = np.minimum(first, width - template.single.extra), np.minimum(second, target_width - template.written.extra)
    return Rows(
        np.arange(count + 1) * 2,
        np.stack([document, document + count], 1).ravel(),
        np.zeros(2 * count, np.int64),
        np.stack(length, 1).ravel().astype(np.int64),
        document,
    )


def lay_sides(
    rows: Rows,
    corpus: Corpus,
    tokenizer: Tokenizer,
    template: Template,
    *,
    batch_size: int,
    width: int,
    target_width: int,
    row_key: np.ndarray,
) -> TokenRows:
    """The rows of the encoder [batch_size, width], with those to be written [batch_size, at most target_width] as their `target`.

    Raises DataError for a token id outside the vocabulary.
    """
    shape = {"batch_size": batch_size, "row_key": row_key}
    written = replace(template, single=template.written)
    read = lay(_side(rows, 0), corpus, tokenizer, "tokens", template, width=width, **shape)  # type: ignore[arg-type]
    target = lay(_side(rows, 1), corpus, tokenizer, "tokens", written, width=min(width, target_width), **shape)  # type: ignore[arg-type]
    return replace(read, target=target)


def _side(rows: Rows, which: int) -> Rows:
    """The rows with one of their two pieces."""
    return Rows(np.arange(len(rows) + 1), rows.document[which::2], rows.start[which::2], rows.length[which::2], rows.mark)
