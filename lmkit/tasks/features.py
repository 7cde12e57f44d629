"""The numpy door of the tasks: from a task's words to the function that makes its part of a batch."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from lmkit.tasks import causal_lm, classification, masked_lm, next_sentence, regression, token_classification
from lmkit.tasks.rows import Examples, TokenRows
from lmkit.tasks.spec import AnyTask, CausalLm, Classification, MaskedLm, NextSentence, Regression, TokenClassification
from lmkit.text.tokenizer import Tokenizer

# Every task has one shape: rows in; labels, weights and what else its head reads out. "tokens" replaces the rows' tokens.
Features = Callable[[TokenRows], dict[str, np.ndarray]]


def features(task: AnyTask, tokenizer: Tokenizer, *, examples: Examples, labels: Sequence[str] = (), key: str = "") -> Features:
    """`examples` say what the task's `roles` ask for; `labels` are the task's own, which `key` declares.

    Raises DataError for a label in the examples that is not among them.
    """
    match task:
        case CausalLm():
            return causal_lm.features
        case MaskedLm():
            return partial(
                masked_lm.features,
                vocabulary=masked_lm.vocabulary(tokenizer),
                mask_rate=task.mask_rate,
                whole_word=task.whole_word,
            )
        case NextSentence():
            return next_sentence.features
        case Classification():
            table = classification.label_table(labels, examples.names["labels"], key=key)
            return partial(classification.features, examples=examples, table=table)
        case Regression():
            return partial(regression.features, examples=examples)
        case TokenClassification():
            return partial(token_classification.features, table=classification.label_table(labels, examples.names["tags"], key=key))
        case _:
            raise ValueError(f"no data format makes rows for {task.kind}")
