"""Which of several texts goes with a text."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lmkit.data.document import Document
from lmkit.errors import DataError, Problem
from lmkit.inference.opened import OpenedModel
from lmkit.inference.rows import compiled_reader, room
from lmkit.text.template import joined_rows


def chooser(opened: OpenedModel, name: str) -> Callable[[Sequence[Document]], list[dict[str, Any]]]:
    """For each document its likeliest choice, that one's place from 0, and the probabilities of all."""
    head, tokenizer, longest = opened.model.heads[name], opened.tokenizer, room(opened)

    def forward(hidden: Any, batch: dict[str, Any]) -> Any:
        return head.among(hidden, batch["segments"], batch["choices"], None, batch["tokens"])

    read = compiled_reader(opened, name, forward)

    def answers(documents: Sequence[Document]) -> list[dict[str, Any]]:
        choices = [document.choices or () for document in documents]
        rows = []
        for document, each in zip(documents, choices, strict=True):
            share = longest // len(each)
            if share < tokenizer.template.pair.extra + 2:
                raise DataError(Problem(f"{len(each)} choices are too many for rows of {longest} tokens", where=document.where))
            rows.append(joined_rows(tokenizer.rows([document.text] * len(each), each, max_length=share)))
        most = max(map(len, choices), default=1)

        def there(chosen: list[int], shape: tuple[int, int]) -> dict[str, Any]:
            found = np.zeros((shape[0], most), np.float32)
            for row, i in enumerate(chosen):
                found[row, : len(choices[i])] = 1
            return {"choices": found}

        return [_answer(each, logits) for each, (logits,) in zip(choices, read(rows, there), strict=True)]

    return answers


def _answer(choices: Sequence[str], logits_C: np.ndarray) -> dict[str, Any]:
    shares = np.exp(logits_C[: len(choices)] - logits_C.max())
    shares /= shares.sum()
    best = int(shares.argmax())
    return {"choice": choices[best], "place": best, "probabilities": shares.tolist()}
