"""The numpy door of the tasks: from a task's words to the function that makes its part of a batch."""

from collections.abc import Callable
from functools import partial

import numpy as np

from lmkit.tasks import causal_lm, classification, masked_lm, next_sentence
from lmkit.tasks.rows import TokenRows
from lmkit.tasks.spec import AnyTask, CausalLm, Classification, MaskedLm, NextSentence
from lmkit.text.tokenizer import Tokenizer

# Every task has one shape: rows in; labels, weights and what else its head reads out. "tokens" replaces the rows' tokens.
Features = Callable[[TokenRows], dict[str, np.ndarray]]


def features(task: AnyTask, tokenizer: Tokenizer, *, table: np.ndarray | None = None) -> Features:
    """`table` is what `classification.label_table` gives, needed for classification alone."""
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
            assert table is not None, "classification needs its label table"
            return partial(classification.features, table=table)
        case _:
            raise ValueError(f"no data format makes rows for {task.kind}")
