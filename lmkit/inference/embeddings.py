"""Vectors of texts, and of two texts how near they are."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lmkit.data.document import Document
from lmkit.inference.opened import OpenedModel
from lmkit.inference.rows import compiled_reader, room

Answer = dict[str, Any]


def embedder(opened: OpenedModel, name: str) -> Callable[[Sequence[Document]], list[Answer]]:
    """For each document the vector of its text, and where it has a second one that one's, and the cosine of both."""
    head = opened.model.heads[name]
    read = compiled_reader(opened, name, lambda hidden, batch: head.embed(hidden, batch["segments"]))

    def vectors(texts: Sequence[str]) -> list[np.ndarray]:
        return [vector for (vector,) in read(opened.tokenizer.rows(texts, max_length=room(opened)))]

    def answer(documents: Sequence[Document]) -> list[Answer]:
        answers: list[Answer] = [{"vector": vector.tolist()} for vector in vectors([document.text for document in documents])]
        paired = [i for i, document in enumerate(documents) if document.pair is not None]
        for i, other in zip(paired, vectors([documents[i].pair or "" for i in paired]) if paired else [], strict=True):
            first = np.asarray(answers[i]["vector"])
            similarity = first @ other / max(np.linalg.norm(first) * np.linalg.norm(other), 1e-12)
            answers[i] |= {"vector_pair": other.tolist(), "similarity": float(similarity)}
        return answers

    return answer
