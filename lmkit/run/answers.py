"""What a trained model answers: rows of documents in, one JSON-able answer for each out, whatever else is in their batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from lmkit.data.document import Document
from lmkit.engine.tensorflow import compiled
from lmkit.errors import DataError, Problem, SpecError
from lmkit.generation.layout import bucket
from lmkit.heads.masked_language_model import gather_rows
from lmkit.run.open import OpenedRun
from lmkit.tasks.spec import Classification, MaskedLm

ROWS = 32  # of a compiled batch; the rest is padding
MASKS = 8  # places of a row that are filled at once
TOP = 5

Answer = dict[str, Any]
Rows = list[tuple[np.ndarray, int]]  # tokens with their special tokens, and where the second text begins


def answerer(opened: OpenedRun) -> Callable[[Sequence[Document]], list[Answer]]:
    """A function that answers with every task of the run that can. Raises SpecError where none can."""
    found: dict[str, Callable[[Sequence[Document]], list[Any]]] = {}
    for name, task in opened.spec.tasks.items():
        if isinstance(task, Classification):
            found[name] = _classifier(opened, name)
        elif isinstance(task, MaskedLm):
            found[name] = _filler(opened, name)
    if not found:
        what = "no task of this run gives predictions for a text; lmkit generate continues texts"
        raise SpecError(Problem(what, where=str(opened.directory.path)))

    def answer(documents: Sequence[Document]) -> list[Answer]:
        answers: list[Answer] = [{"text": document.text} for document in documents]
        for name, one in found.items():
            for into, value in zip(answers, one(documents), strict=True):
                into[name] = value
        return answers

    return answer


def _rows(opened: OpenedRun, documents: Sequence[Document], *, specials: bool) -> Rows:
    """bos A eos [B eos], the longer text cut until the row fits."""
    tokenizer, room = opened.tokenizer, opened.spec.data.max_length
    first = tokenizer.encode([document.text for document in documents], specials=specials)
    second = tokenizer.encode([document.pair or "" for document in documents])
    rows: Rows = []
    for document, a, b in zip(documents, first, second, strict=True):
        paired = document.pair is not None
        while len(a) + len(b) + (3 if paired else 2) > room:
            a, b = (a[:-1], b) if len(a) >= len(b) else (a, b[:-1])
        bos, eos = np.array([tokenizer.bos]), np.array([tokenizer.eos])
        parts = [bos, a, eos, b, eos] if paired else [bos, a, eos]
        rows.append((np.concatenate(parts).astype(np.int32), len(a) + 2))
    return rows


def _batches(rows: Rows, pad: int, longest: int):
    """(indexes of the rows, batch) with rows of like length together, in shapes that repeat."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    for at in range(0, len(order), ROWS):
        chosen = order[at : at + ROWS]
        length = min(bucket(max(len(rows[i][0]) for i in chosen)), longest)
        batch = {name: np.zeros((ROWS, length), np.int32) for name in ("tokens", "segments", "positions", "token_types")}
        batch["tokens"][:] = pad
        batch["positions"][:] = np.arange(length)
        for row, i in enumerate(chosen):
            tokens, second = rows[i]
            batch["tokens"][row, : len(tokens)] = tokens
            batch["segments"][row, : len(tokens)] = 1
            batch["token_types"][row, second : len(tokens)] = 1
        yield chosen, batch


def _classifier(opened: OpenedRun, name: str) -> Callable[[Sequence[Document]], list[Any]]:
    model, labels = opened.model, opened.labels[name]
    head = model.heads[name]

    def forward(batch: dict[str, Any]) -> Any:
        hidden = model.backbone(batch["tokens"], **{key: batch[key] for key in ("segments", "positions", "token_types")})
        return ops.softmax(ops.cast(head.logits(hidden, batch["segments"]), "float32"), axis=-1)

    call = compiled(forward)

    def answer(documents: Sequence[Document]) -> list[Any]:
        rows = _rows(opened, documents, specials=False)
        answers: list[Any] = [None] * len(rows)
        for chosen, batch in _batches(rows, opened.tokenizer.pad, opened.spec.data.max_length):
            for i, shares in zip(chosen, np.asarray(call(batch)), strict=False):
                probabilities = {label: float(share) for label, share in zip(labels, shares, strict=True)}
                answers[i] = {"label": labels[int(shares.argmax())], "probabilities": probabilities}
        return answers

    return answer


def _filler(opened: OpenedRun, name: str) -> Callable[[Sequence[Document]], list[Any]]:
    model, tokenizer = opened.model, opened.tokenizer
    head = model.heads[name]

    def forward(batch: dict[str, Any]) -> Any:
        hidden = model.backbone(batch["tokens"], **{key: batch[key] for key in ("segments", "positions", "token_types")}, causal=False)
        logits = head.logits(gather_rows(hidden, batch["where"]), model.backbone.token_embedding)
        return ops.top_k(ops.softmax(ops.cast(logits, "float32"), axis=-1), TOP)

    call = compiled(forward)

    def answer(documents: Sequence[Document]) -> list[Any]:
        rows = _rows(opened, documents, specials=True)
        places = [np.flatnonzero(tokens == tokenizer.mask) for tokens, _ in rows]
        for document, found in zip(documents, places, strict=True):
            if not 0 < len(found) <= MASKS:
                what = f"has {len(found)} masks; write {tokenizer.piece(tokenizer.mask)} at 1 to {MASKS} places"
                raise DataError(Problem(what, where=document.where if document.file else json_text(document.text)))
        answers: list[Any] = [None] * len(rows)
        for chosen, batch in _batches(rows, tokenizer.pad, opened.spec.data.max_length):
            batch["where"] = np.zeros((ROWS, MASKS), np.int32)
            for row, i in enumerate(chosen):
                batch["where"][row, : len(places[i])] = places[i]
            shares, ids = (np.asarray(value) for value in call(batch))
            for row, i in enumerate(chosen):
                answers[i] = _filling(opened, rows[i][0], places[i], shares[row], ids[row])
        return answers

    return answer


def _filling(opened: OpenedRun, tokens: np.ndarray, places: np.ndarray, shares: np.ndarray, ids: np.ndarray) -> Answer:
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


def json_text(text: str) -> str:
    """A text short enough to name a row that came from the command line."""
    return f'"{text if len(text) <= 60 else text[:57] + "..."}"'
