"""Scores of documents, of which a long one is read as the task reads it in training: cut, or in windows whose scores are pooled."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from lmkit.data.document import Document
from lmkit.data.groups import windows_of
from lmkit.data.windows import Windows
from lmkit.inference.opened import OpenedModel
from lmkit.inference.rows import compiled_reader, room
from lmkit.tasks.spec import AnyTask, WholeText
from lmkit.text.template import Row


def document_scores(opened: OpenedModel, name: str, task: AnyTask) -> Callable[[Sequence[Document]], list[np.ndarray]]:
    """A function that gives float32 [labels] for each document: what the head says before it becomes probabilities."""
    head = opened.model.heads[name]

    def forward(hidden: Any, batch: dict[str, Any]) -> Any:
        return ops.cast(head.logits(hidden, batch["segments"], None, batch["tokens"]), "float32")

    read = compiled_reader(opened, name, forward)
    windows = windows_of(task)
    truncate = task.truncate if isinstance(task, WholeText) else "end"

    def scores(documents: Sequence[Document]) -> list[np.ndarray]:
        texts, pairs = [document.text for document in documents], [document.pair for document in documents]
        if windows is None:
            return [row for (row,) in read(opened.tokenizer.rows(texts, pairs, max_length=room(opened), truncate=truncate))]
        assert isinstance(task, WholeText) and task.windows is not None
        parts = window_parts(opened, texts, pairs, windows)
        found = iter(read([row for rows in parts for row in rows]))
        pool = np.mean if task.windows.pool == "mean" else np.max
        return [pool([next(found)[0] for _ in rows], axis=0) for rows in parts]

    return scores


def window_parts(opened: OpenedModel, texts: Sequence[str], pairs: Sequence[str | None], windows: Windows) -> list[list[Row]]:
    """The rows of each document: of the second text where there is one, each behind the first, else of the first."""
    tokenizer = opened.tokenizer
    plain = partial(tokenizer.encode, specials=False)
    nothing = np.zeros(0, np.int32)
    parts = []
    for first, second, pair in zip(plain(texts), plain([pair or "" for pair in pairs]), pairs, strict=True):
        frame = tokenizer.template.single if pair is None else tokenizer.template.pair
        whole, long = (nothing, first) if pair is None else (first, second)
        cut = windows.cut(np.array([len(whole)]), np.array([len(long)]), room(opened) - frame.extra)
        windowed = [(whole[:kept], long[start : start + length]) for _, kept, start, length in zip(*cut, strict=True)]
        parts.append([tokenizer.template.row(part) if pair is None else tokenizer.template.row(kept, part) for kept, part in windowed])
    return parts
