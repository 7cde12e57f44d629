"""Fillings for the masks of a text: the likeliest tokens at each, and the text with the first of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from lmkit.data.document import Document
from lmkit.heads.masked_language_model import gather_rows
from lmkit.inference.opened import OpenedModel
from lmkit.inference.rows import compiled_reader, room
from lmkit.text.template import Row

MASKS = 8  # places of a row that are filled at once
TOP = 5

Answer = dict[str, Any]


def lacks_masks(opened: OpenedModel) -> Callable[[Document], str]:
    """What a document would need to be filled: some masks, and not too many."""
    tokenizer = opened.tokenizer
    mask = tokenizer.require("mask", "masked_lm")

    def lacks(document: Document) -> str:
        count = int(np.sum(_rows(opened, [document])[0].ids == mask))
        return (
            "" if 0 < count <= MASKS else f"has {count} masks; write {tokenizer.piece(mask)}, in just these letters, at 1 to {MASKS} places"
        )

    return lacks


def filler(opened: OpenedModel, name: str) -> Callable[[Sequence[Document]], list[Answer]]:
    """For each document its masks, each with the likeliest tokens, and the text with the likeliest in all places."""
    model, mask = opened.model, opened.tokenizer.mask
    head = model.heads[name]

    def forward(hidden: Any, batch: dict[str, Any]) -> Any:
        logits = head.logits(gather_rows(hidden, batch["where"]), model.backbone.token_embedding)
        return ops.top_k(ops.softmax(ops.cast(logits, "float32"), axis=-1), TOP)

    read = compiled_reader(opened, name, forward)

    def answer(documents: Sequence[Document]) -> list[Answer]:
        rows = _rows(opened, documents)
        places = [np.flatnonzero(row.ids == mask) for row in rows]

        def where(chosen: list[int], shape: tuple[int, int]) -> dict[str, Any]:
            found = np.zeros((shape[0], MASKS), np.int32)
            for row, i in enumerate(chosen):
                found[row, : len(places[i])] = places[i]
            return {"where": found}

        found = read(rows, where)
        return [_filling(opened, row.ids, at, *top) for row, at, top in zip(rows, places, found, strict=True)]

    return answer


def _filling(opened: OpenedModel, tokens: np.ndarray, places: np.ndarray, shares: np.ndarray, ids: np.ndarray) -> Answer:
    decode = opened.tokenizer.decode
    filled = tokens.copy()
    masks = []
    for at, place in enumerate(places):
        filled[place] = ids[at, 0]
        found = zip(ids[at], shares[at], strict=True)
        masks.append(
            [{"token": decode([index]).strip() or opened.tokenizer.piece(int(index)), "probability": float(p)} for index, p in found]
        )
    return {"masks": masks, "filled": decode(filled)}


def _rows(opened: OpenedModel, documents: Sequence[Document]) -> list[Row]:
    texts, pairs = [document.text for document in documents], [document.pair for document in documents]
    return opened.tokenizer.rows(texts, pairs, max_length=room(opened), specials=True)
