"""Which of two answers a model prefers, and by how much: both in one row, as they are in training."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lmkit.data.annotations import followed
from lmkit.data.conversations import told
from lmkit.data.document import Document
from lmkit.data.preferences import prompt_lengths, shortened
from lmkit.inference.opened import OpenedModel
from lmkit.inference.rows import compiled_reader, room
from lmkit.text.chat_templates import require_chat
from lmkit.text.template import Row, bare, joined_rows

Answer = dict[str, Any]
SIDES = ("chosen", "rejected")


class Pair(NamedTuple):
    """A row of two answers, the token after each of its tokens, and 1 where that belongs to an answer."""

    row: Row
    labels: np.ndarray
    counted: np.ndarray


def rewards_of_two(opened: OpenedModel, name: str) -> Callable[[Sequence[Document]], list[Answer]]:
    """The scores that a reward gives to the answers of each document."""
    head = opened.model.heads[name]
    read = compiled_reader(opened, name, lambda hidden, batch: head.scores(hidden, batch["segments"], batch["tokens"]))
    return lambda documents: [_judged(rewards) for (rewards,) in read([pair.row for pair in _pairs(opened, documents)])]


def preferred_of_two(opened: OpenedModel, name: str, beta: float) -> Callable[[Sequence[Document]], list[Answer]]:
    """What both answers of each document are worth by their log probabilities: beta times what they gained since the model began."""
    own = _log_probabilities(opened, name)
    before: list[Callable[[Sequence[Pair]], np.ndarray]] = []

    def answers(documents: Sequence[Document]) -> list[Answer]:
        if not documents:
            return []
        if not before:
            before.append(_log_probabilities(replace(opened, model=opened.began()), name))
        pairs = _pairs(opened, documents)
        now = own(pairs)
        rewards = beta * (now - before[0](pairs))
        return [_judged(reward) | {"log_probabilities": _by_side(log)} for reward, log in zip(rewards, now, strict=True)]

    return answers


def _log_probabilities(opened: OpenedModel, name: str) -> Callable[[Sequence[Pair]], np.ndarray]:
    head, embedding = opened.model.heads[name], opened.model.backbone.token_embedding

    def forward(hidden: Any, batch: dict[str, Any]) -> Any:
        return head.log_probabilities(hidden, batch["labels"], batch["counted"], batch["segments"], embedding)

    read = compiled_reader(opened, name, forward)

    def log_probabilities(pairs: Sequence[Pair]) -> np.ndarray:
        def learned(chosen: list[int], shape: tuple[int, int]) -> dict[str, Any]:
            labels, counted = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
            for place, i in enumerate(chosen):
                size = len(pairs[i].labels)
                labels[place, :size], counted[place, :size] = pairs[i].labels, pairs[i].counted
            return {"labels": labels, "counted": counted}

        return np.stack([log for (log,) in read([pair.row for pair in pairs], learned)])

    return log_probabilities


def _judged(rewards: np.ndarray) -> Answer:
    margin = float(rewards[0]) - float(rewards[1])
    return {"preferred": SIDES[margin < 0] if margin else None, "margin": margin, "rewards": _by_side(rewards)}


def _by_side(values: np.ndarray) -> dict[str, float]:
    return dict(zip(SIDES, map(float, values), strict=True))


def _pairs(opened: OpenedModel, documents: Sequence[Document]) -> list[Pair]:
    """The rows that training would make of the documents."""
    tokenizer, longest = opened.tokenizer, room(opened)
    chat = require_chat(tokenizer)
    found = []
    for document in documents:
        made = told(document, chat, "last")
        both = [
            _encoded(opened, made.first, made.document.text, made.document.counted or ()),
            _encoded(opened, made.second, made.document.pair or "", made.document.counted_pair or ()),
        ]
        lengths, prompts = (
            np.array([[len(ids)] for ids, _ in both]),
            [prompt_lengths(counted, np.zeros(1, int), np.array([len(ids)])) for ids, counted in both],
        )
        cut, kept = shortened((lengths[0], lengths[1]), (prompts[0], prompts[1]), longest)
        parts = [slice(int(start[0]), int(start[0]) + int(size[0])) for start, size in zip(cut, kept, strict=True)]
        row = joined_rows([bare().row(ids[part]) for (ids, _), part in zip(both, parts, strict=True)])
        labels = [np.append(ids[1:], tokenizer.eos)[part] for (ids, _), part in zip(both, parts, strict=True)]
        counted = [counted[part] for (_, counted), part in zip(both, parts, strict=True)]
        found.append(Pair(row, np.concatenate(labels), np.concatenate(counted)))
    return found


def _encoded(
    opened: OpenedModel, parts: Sequence[str], text: str, learned: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The tokens of a conversation, and whether what follows each of them is learned."""
    begins = np.cumsum([0, *map(len, parts)])
    found = opened.tokenizer.spans(parts, specials=True)
    spans = np.concatenate([places + begin for (_, places), begin in zip(found, begins, strict=False)])
    return np.concatenate([ids for ids, _ in found]), followed(spans, learned, len(text))
