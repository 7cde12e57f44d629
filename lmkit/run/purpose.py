"""What records are for, told by the usual names of their fields and by what the first of them has there."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lmkit.scores.tags import ENTITY_TAG

Roles = Mapping[str, tuple[Callable[[Any], bool], tuple[str, ...]]]  # role: (whether a value can be one, usual names of its field)


@dataclass(frozen=True)
class Purpose:
    """A task under its name in a spec, the body that it needs and the figure that tells its best state, of records that have a field for
    each of `roles`; those of `more` may be there."""

    task: str
    body: Literal["encoder", "decoder", "chat", "encoder_decoder"]
    best: str = ""
    roles: Roles = field(default_factory=dict)
    more: Roles = field(default_factory=dict)

    def columns(self, record: Mapping[str, Any]) -> dict[str, str] | None:
        """The field of each role; None where one is lacking."""
        found: dict[str, str] = {}
        for role, (fits, names) in {**self.roles, **self.more}.items():
            free = {name.lower(): name for name, value in record.items() if name not in found.values() and fits(value)}
            usual = next((free[name] for name in names if name in free), None)
            if usual is None and role in self.roles:
                return None
            found |= {} if usual is None else {role: usual}
        return found


def purpose_of(record: Mapping[str, Any], separator: str = "") -> tuple[Purpose, dict[str, str]]:
    """What records like this one are for, and the fields of its roles: the first that fits, else a language model of its longest text.

    With a separator, what is called as labels are is several of them.
    """
    if separator:
        record = {name: value.split(separator) if _text(value) and name.lower() in SEVERAL else value for name, value in record.items()}
    for purpose in PURPOSES:
        columns = purpose.columns(record)
        if columns is not None:
            return purpose, columns
    texts = {name: value for name, value in record.items() if isinstance(value, str)}
    return LANGUAGE, {"text": max(texts, key=lambda name: len(texts[name]), default="text")}


def purpose_of_tags(tags: Iterable[str]) -> Purpose:
    """What words with these tags are for: the names of entities, where all are such, or tags of any kind."""
    return ENTITIES if all(ENTITY_TAG.fullmatch(tag) for tag in tags) else TAGS


def _unpacked(value: Any) -> Any:
    """A value, or what a cell of a table holds of it as JSON."""
    try:
        return json.loads(value) if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") else value
    except ValueError:
        return value


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _text_or_none(value: Any) -> bool:
    return value is None or _text(value)


def _number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(float(value), float)
    except (TypeError, ValueError):
        return False


def _fraction(value: Any) -> bool:
    """A number that numbers no class."""
    return isinstance(value, float) or (isinstance(value, str) and _number(value) and not float(value).is_integer())


def _label(value: Any) -> bool:
    return value is None or isinstance(value, bool | int) or (isinstance(value, str) and not _names(value) and not _fraction(value))


def _word(value: Any) -> bool:
    return _label(value) and len(str(value).split()) == 1


def _names(value: Any) -> bool:
    found = _unpacked(value)
    return isinstance(found, list) and all(isinstance(each, str | int) for each in found)


def _entities(value: Any) -> bool:
    return _names(value) and all(ENTITY_TAG.fullmatch(str(tag)) for tag in _unpacked(value))


def _choices(value: Any) -> bool:
    found = _unpacked(value)
    return _names(found.get("text") if isinstance(found, dict) else found)


def _answers(value: Any) -> bool:
    return isinstance(_unpacked(value), dict | list)


def _messages(value: Any) -> bool:
    found = _unpacked(value)
    return isinstance(found, list) and bool(found) and all(isinstance(each, dict) and each.keys() & {"role", "from"} for each in found)


def _said(value: Any) -> bool:
    return _text(value) or _messages(value)


ONE_OF_TWO = ("sentence1", "premise", "question", "question1", "text1", "anchor", "query")
TEXT = ("text", "content", "body", *ONE_OF_TWO, "sentence", "review", "document", "article", "dialogue", "source", "src")
PAIR = ("text_pair", "sentence2", "hypothesis", "question2", "text2", "sentence", "answer", "passage", "positive")
LABEL = ("label", "labels", "class", "category", "stars", "rating", "sentiment", "intent")

ONE_TEXT: Roles = {"text": (_text, TEXT)}
TWO_TEXTS: Roles = {"text_pair": (_text, PAIR)}
WORDS: Roles = {"words": (_names, ("tokens", "words"))}
SYSTEM: Roles = {"system": (_text_or_none, ("system", "system_prompt"))}
SEVERAL = (*LABEL, "tags", "categories", "topics", "genres")
TAG = ("tags", "ner_tags", "ner", "pos_tags", "upos", "labels")

CHAT, CLASSES = "chat: causal_lm", "label: {kind: classification, metrics: [accuracy, f1]}"
NUMBER = "number: {kind: regression, metrics: [spearman, pearson]}"

ENTITIES = Purpose("tags: {kind: token_classification, metrics: [accuracy, f1]}", "encoder", "tags/f1", {**WORDS, "tags": (_entities, TAG)})
TAGS = Purpose(
    "tags: {kind: token_classification, metrics: [accuracy, f1_tags]}", "encoder", "tags/f1_tags", {**WORDS, "tags": (_names, TAG)}
)
QUESTIONS = Purpose(
    "answer: question_answering",
    "encoder",
    "answer/f1",
    {
        "text": (_text, ("question",)),
        "text_pair": (_text, ("context", "passage", "paragraph")),
        "answers": (_answers, ("answers", "answer")),
    },
)
WRITE = Purpose(
    "write: {kind: seq2seq, metrics: [chrf, rougeL]}",
    "encoder_decoder",
    "write/chrf",
    {**ONE_TEXT, "target": (_text, ("target", "tgt", "summary", "highlights", "translation"))},
)
LANGUAGE = Purpose("lm: causal_lm", "decoder", roles=ONE_TEXT)
PURPOSES = (  # the first that fits
    Purpose(
        "prefer: dpo",
        "chat",
        "prefer/accuracy",
        {"chosen": (_said, ("chosen",)), "rejected": (_said, ("rejected",))},
        {"prompt": (_said, ("prompt", "instruction", "question")), "input": (_text_or_none, ("input",)), **SYSTEM},
    ),
    Purpose(CHAT, "chat", roles={"messages": (_messages, ("messages", "conversations", "conversation", "dialog", "dialogue"))}),
    ENTITIES,
    TAGS,
    QUESTIONS,
    Purpose(
        "choice: multiple_choice",
        "encoder",
        "choice/accuracy",
        {
            "text": (_text, (*TEXT, "ctx", "context", "prompt")),
            "choices": (_choices, ("choices", "options", "endings")),
            "label": (_label, ("label", "answerkey", "answer")),
        },
    ),
    Purpose(
        CHAT,
        "chat",
        roles={"prompt": (_said, ("prompt", "instruction")), "response": (_text, ("response", "completion", "output", "answer"))},
        more={"input": (_text_or_none, ("input", "context")), **SYSTEM},
    ),
    Purpose(NUMBER, "encoder", "number/spearman", {**ONE_TEXT, "value": (_fraction, LABEL)}, TWO_TEXTS),
    Purpose(
        "labels: {kind: classification, multi_label: true, metrics: [accuracy, f1_micro]}",
        "encoder",
        "labels/f1_micro",
        {**ONE_TEXT, "labels": (_names, SEVERAL)},
    ),
    Purpose(CLASSES, "encoder", "label/f1", {**ONE_TEXT, "label": (_label, LABEL)}, TWO_TEXTS),
    Purpose(CLASSES, "encoder", "label/f1", {**ONE_TEXT, "label": (_word, ("target",))}, TWO_TEXTS),
    Purpose(
        NUMBER,
        "encoder",
        "number/spearman",
        {**ONE_TEXT, "value": (_number, ("score", "similarity", "similarity_score", "value", "target"))},
        TWO_TEXTS,
    ),
    WRITE,
    Purpose(CHAT, "chat", roles={"prompt": (_text, ("question",)), "response": (_text, ("answer",))}),
    Purpose("vector: sentence_embedding", "encoder", "vector/mrr", {**ONE_TEXT, **TWO_TEXTS}),
    LANGUAGE,
)
