"""What a model answers: rows of documents in, one JSON-able answer for each out, whatever else is in their batch."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple, assert_never

import numpy as np

from lmkit.data.conversations import told
from lmkit.data.document import Document
from lmkit.data.roles import near
from lmkit.errors import DataError, Problem, SpecError
from lmkit.inference.choices import chooser
from lmkit.inference.embeddings import embedder
from lmkit.inference.long_texts import document_scores
from lmkit.inference.masks import filler, lacks_masks
from lmkit.inference.opened import OpenedModel
from lmkit.inference.preferences import preferred_of_two, rewards_of_two
from lmkit.inference.rows import compiled_reader, require_going, room
from lmkit.inference.spans import span_finder
from lmkit.inference.token_answers import replaced_finder, word_labeller
from lmkit.inference.writing import Writer
from lmkit.tasks.next_sentence import LABELS
from lmkit.tasks.spec import (
    AnyTask,
    CausalLm,
    Classification,
    DirectPreference,
    MaskedLm,
    MultipleChoice,
    NextSentence,
    PrefixLm,
    QuestionAnswering,
    Regression,
    ReplacedToken,
    Reward,
    SentenceEmbedding,
    SentenceOrder,
    Seq2seq,
    SpanCorruption,
    TokenClassification,
)
from lmkit.text.chat_templates import chat_of
from lmkit.text.template import Row, bare

Answer = dict[str, Any]
Read = Callable[[Sequence[Document]], list[Answer]]


class Reader(NamedTuple):
    """One task: `lacks(document)` says what it would need to answer, empty if nothing; `read` answers those that lack nothing."""

    lacks: Callable[[Document], str]
    read: Read


def answerer(opened: OpenedModel, tasks: Collection[str] = ()) -> Callable[[Sequence[Document]], list[Answer | DataError]]:
    """A function from documents to what the tasks answer each: every task of the model that can, or these alone.

    A document that lacks what one task needs (a second text, a mask) is answered by the others; where no other is left, the
    error takes the answer's place. Raises SpecError for a task that is none or gives no answers, and where none gives any.
    """
    found = readers(opened, tasks)

    def answer(documents: Sequence[Document]) -> list[Answer | DataError]:
        answers: list[Answer] = [{} for _ in documents]
        for name, reader in found.items():
            able = [i for i, document in enumerate(documents) if not reader.lacks(document)]
            for i, value in zip(able, reader.read([documents[i] for i in able]), strict=True):
                answers[i][name] = value
        return [given or _unanswered(document) for document, given in zip(documents, answers, strict=True)]

    def _unanswered(document: Document) -> DataError:
        reasons = dict.fromkeys(reader.lacks(document) for reader in found.values())
        return DataError(Problem("; ".join(reasons), where=document.where if document.file else json_text(document.text)))

    return answer


def readers(opened: OpenedModel, tasks: Collection[str] = ()) -> dict[str, Reader]:
    """What answers for each task of the model that can, or for these; SpecError as `answerer` raises it."""
    known = opened.tasks
    unknown = next((name for name in tasks if name not in known), None)
    if unknown is not None:
        raise SpecError(Problem(f"is no task of this model{near(unknown, known)}; it has {', '.join(known)}", unknown, "command line"))
    found = {name: _reader(opened, name, known[name]) for name in tasks or known}
    able = {name: reader for name, reader in found.items() if reader is not None}
    unable = next((name for name in tasks if name not in able), None)
    if unable is not None or not able:
        what = f"task {unable} gives no answers to a text" if unable else "no task of this model gives predictions for a text"
        raise SpecError(Problem(f"{what}; lmkit generate continues texts", where=str(opened.path)))
    return able


def _reader(opened: OpenedModel, name: str, task: AnyTask) -> Reader | None:
    match task:
        case Classification(multi_label=True):
            return Reader(_as_learned(opened, task), _set_finder(opened, name, task, opened.labels[name]))
        case Classification():
            return Reader(_as_learned(opened, task), _classifier(opened, name, task, opened.labels[name]))
        case NextSentence() | SentenceOrder():
            labels = LABELS if isinstance(task, NextSentence) else ("ordered", "swapped")
            return Reader(_second_text, _classifier(opened, name, task, labels))
        case MultipleChoice():
            return Reader(_choices, chooser(opened, name))
        case Regression():
            return Reader(_as_learned(opened, task), _measurer(opened, name, task))
        case MaskedLm():
            return Reader(lacks_masks(opened), filler(opened, name))
        case TokenClassification():
            return Reader(_nothing, word_labeller(opened, name, opened.labels[name]))
        case ReplacedToken():
            return Reader(_nothing, replaced_finder(opened, name))
        case QuestionAnswering():
            return Reader(_second_text, span_finder(opened, name, task))
        case SentenceEmbedding():
            return Reader(_nothing, embedder(opened, name))
        case Seq2seq():
            write = Writer(opened, name, opened.habits())
            return Reader(_nothing, partial(_written, opened, write))
        case Reward():
            return Reader(_nothing, _scorer(opened, name))
        case DirectPreference():
            return Reader(_two_answers, preferred_of_two(opened, name, task.beta))
        case CausalLm() | SpanCorruption() | PrefixLm():
            return None
        case _:
            assert_never(task)


def _written(opened: OpenedModel, write: Writer, documents: Sequence[Document]) -> list[Answer]:
    found: list[Answer] = []
    for start in range(0, len(documents), opened.at_once):
        require_going(opened)
        found += [{"text": text} for text in write([document.text for document in documents[start : start + opened.at_once]])]
    return found


def _nothing(document: Document) -> str:
    return ""


def _choices(document: Document) -> str:
    return "" if document.choices else "has no choices, and two or more are needed; add --choice twice, or a field choices"


def _second_text(document: Document) -> str:
    return "" if document.pair is not None else "has one text, and two are needed; add --pair, or a field text_pair"


def _as_learned(opened: OpenedModel, task: AnyTask) -> Callable[[Document], str]:
    """One text or two, as the task's sources have; either, where these are several that differ, or are not known."""
    sources = [source for name, source in opened.data.train.items() if task.data in (None, name)]
    paired = {"text_pair" in getattr(source, "columns", {}) for source in sources}
    if opened.imported or len(paired) > 1:
        return _nothing
    return _second_text if True in paired else _only_text


def _only_text(document: Document) -> str:
    return "" if document.pair is None else "has two texts, and the model learned from one; leave --pair out, or the field text_pair"


def _two_answers(document: Document) -> str:
    return "" if document.rejected else "has no two answers to compare; give --input FILE with the fields of chosen and rejected"


def _classifier(opened: OpenedModel, name: str, task: AnyTask, labels: Sequence[str]) -> Read:
    scores = document_scores(opened, name, task)

    def answer(logits: np.ndarray) -> Answer:
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        return {"label": labels[int(shares.argmax())], "probabilities": dict(zip(labels, shares.tolist(), strict=True))}

    return lambda documents: [answer(each) for each in scores(documents)]


def _set_finder(opened: OpenedModel, name: str, task: Classification, labels: Sequence[str]) -> Read:
    scores = document_scores(opened, name, task)

    def answer(logits: np.ndarray) -> Answer:
        shares = dict(zip(labels, (1 / (1 + np.exp(-logits))).tolist(), strict=True))
        return {"labels": [label for label, share in shares.items() if share >= task.threshold], "probabilities": shares}

    return lambda documents: [answer(each) for each in scores(documents)]


def _measurer(opened: OpenedModel, name: str, task: AnyTask) -> Read:
    scores = document_scores(opened, name, task)
    return lambda documents: [{"value": float(value)} for (value,) in scores(documents)]


def _scorer(opened: OpenedModel, name: str) -> Read:
    """Scores of conversations, and of texts as they are, without special tokens around them: as pairs were learned. Of two answers that
    stand side by side, the scores of both.
    """
    of_two = rewards_of_two(opened, name)
    head, longest, chat = opened.model.heads[name], room(opened), chat_of(opened.tokenizer)
    read = compiled_reader(opened, name, lambda hidden, batch: head.logits(hidden, batch["segments"], None, batch["tokens"]))

    def row(document: Document) -> Row:
        if document.messages is not None and chat is not None:
            parts: Sequence[str] = told(document, chat, "all").first
        else:
            parts = [document.text]
        ids = np.concatenate(opened.tokenizer.encode(parts, specials=document.messages is not None))[-longest:]
        return bare().row(ids)

    def answer(documents: Sequence[Document]) -> list[Answer]:
        twofold = [i for i, document in enumerate(documents) if document.rejected]
        single = [i for i, document in enumerate(documents) if not document.rejected]
        answers = dict(zip(twofold, of_two([documents[i] for i in twofold]), strict=True))
        scores = read([row(documents[i]) for i in single])
        answers |= {i: {"score": float(value[0])} for i, (value,) in zip(single, scores, strict=True)}
        return [answers[i] for i in range(len(documents))]

    return answer


def json_text(text: str) -> str:
    """A text short enough to name a row that came from the command line."""
    return f'"{text if len(text) <= 60 else text[:57] + "..."}"'
