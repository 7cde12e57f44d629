"""The numpy door of the tasks: from a task's words to the function that makes its part of a batch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from lmkit.tasks import (
    causal_lm,
    classification,
    masked_lm,
    multiple_choice,
    next_sentence,
    preference,
    prefix_lm,
    question_answering,
    regression,
    replaced_token,
    sentence_embedding,
    seq2seq,
    span_corruption,
    token_classification,
)
from lmkit.tasks.rows import Examples, TokenRows
from lmkit.tasks.spec import (
    AnyTask,
    CausalLm,
    Classification,
    DirectPreference,
    Labelled,
    MaskedLm,
    MultipleChoice,
    PrefixLm,
    QuestionAnswering,
    Regression,
    ReplacedToken,
    Reward,
    SentenceEmbedding,
    Seq2seq,
    SpanCorruption,
    TokenClassification,
    TwoSegments,
)
from lmkit.text.tokenizer import Tokenizer

# Every task has one shape: rows in; labels, weights and what else its head reads out. "tokens" replaces the rows' tokens.
Features = Callable[[TokenRows], dict[str, np.ndarray]]


def features(
    task: AnyTask,
    tokenizer: Tokenizer,
    *,
    examples: Examples,
    labels: Sequence[str] = (),
    key: str = "",
    weigh: bool = False,
    start: int | None = None,
    room: int = 0,
) -> Features:
    """`examples` say what the task's `roles` ask for; `labels` are the task's own, and `key` is that of the task in the spec;
    `weigh` lets its class weights act; `start` is what a decoder beside an encoder begins with, `room` the most tokens of a text
    in a row.

    Raises DataError for a label in the examples that is not among them.
    """
    match task:
        case CausalLm():
            return causal_lm.features
        case DirectPreference() | Reward():
            return preference.features
        case MaskedLm():
            return partial(
                masked_lm.features,
                vocabulary=masked_lm.vocabulary(tokenizer),
                mask_rate=task.mask_rate,
                whole_word=task.whole_word,
            )
        case TwoSegments():
            return next_sentence.features
        case Classification(multi_label=True):
            table, weights = _labelled(task, "sets", examples, labels, key, weigh)
            weighed = weigh and task.class_weights is not None
            return partial(classification.set_features, examples=examples, table=table, weights=weights, weighed=weighed)
        case Classification():
            table, weights = _labelled(task, "labels", examples, labels, key, weigh)
            shared = weigh and task.class_weights is not None and task.label_smoothing > 0
            return partial(classification.features, examples=examples, table=table, weights=weights, shared=shared)
        case MultipleChoice():
            return partial(multiple_choice.features, examples=examples)
        case Regression():
            return partial(regression.features, examples=examples)
        case ReplacedToken():
            return partial(replaced_token.features, vocabulary=masked_lm.vocabulary(tokenizer), mask_rate=task.mask_rate)
        case SentenceEmbedding():
            cosines = sentence_embedding.cosines(examples, task.values, key) if task.loss == "cosine" else None
            return partial(sentence_embedding.features, cosines=cosines)
        case TokenClassification():
            table, weights = _labelled(task, "tags", examples, labels, key, weigh)
            return partial(token_classification.features, table=table, weights=weights)
        case QuestionAnswering():
            return partial(question_answering.features, examples=examples)
        case SpanCorruption() if start is not None:
            spans: dict[str, Any] = {"mask_rate": task.mask_rate, "mean_span": task.mean_span}
            sentinels = span_corruption.sentinels(tokenizer, room, key=f"{key}.mean_span", **spans)
            sides: dict[str, Any] = {"template": tokenizer.template.behind(start), "start": start, "pad": tokenizer.pad}
            return partial(span_corruption.features, sentinels=sentinels, **spans, **sides)
        case PrefixLm() if start is not None:
            return partial(prefix_lm.two_sides, template=tokenizer.template.behind(start), start=start, pad=tokenizer.pad)
        case PrefixLm():
            return prefix_lm.one_stack
        case Seq2seq() if start is not None:
            return partial(seq2seq.features, start=start)
        case Seq2seq():
            return partial(seq2seq.prompted, eos=tokenizer.eos)
        case _:
            raise ValueError(f"no data format makes rows for {task.kind}")


def _labelled(
    task: Labelled, column: str, examples: Examples, labels: Sequence[str], key: str, weigh: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the labels of a column, and what each label counts."""
    called = task.labels if isinstance(task.labels, dict) else None
    fix = classification.FOUND if task.labels == "auto" else classification.DECLARED
    table = classification.label_table(labels, examples.names[column], key=f"{key}.labels", called=called, fix=fix)
    wanted = task.class_weights if weigh else None
    records = len(examples.values["set_documents"]) - 1 if column == "sets" else None
    return table, classification.label_weights(wanted, labels, table, examples.counts[column], key=f"{key}.class_weights", records=records)
