"""The door of tasks: the head that belongs to a task's words, for a given body."""

from typing import assert_never

from lmkit.blocks.build import build_norm
from lmkit.heads.head import Head, build_named
from lmkit.heads.language_model import LanguageModelHead
from lmkit.heads.masked_language_model import MaskedLanguageModelHead
from lmkit.heads.sequence_class import SequenceClassHead
from lmkit.models.backbone import Backbone
from lmkit.models.spec import Decoder, Encoder
from lmkit.tasks.spec import AnyTask, CausalLm, Classification, MaskedLm, NextSentence


def build_head(task: AnyTask, name: str, *, backbone: Backbone, model_spec: Encoder | Decoder, num_labels: int = 0) -> Head:
    """The head, built under `heads.{name}`; `num_labels` is needed for classification only."""
    hidden, vocab, tied = backbone.hidden_size, backbone.vocab_size, model_spec.tie_embeddings
    head: Head
    match task:
        case CausalLm():
            head = LanguageModelHead(hidden, vocab, tied=tied, name=name)
        case MaskedLm():
            norm = build_norm(model_spec.norm, hidden, name="transform_norm")
            head = MaskedLanguageModelHead(
                hidden, vocab, transform_norm=norm, activation=model_spec.feed_forward.activation, tied=tied, name=name
            )
        case NextSentence():
            head = SequenceClassHead(hidden, 2, pooling="first", name=name)
        case Classification():
            if num_labels < 2:
                raise ValueError(f"classification needs two labels or more, got {num_labels}")
            head = SequenceClassHead(hidden, num_labels, pooling=task.pooling, dropout=task.dropout, name=name)
        case _:
            assert_never(task)
    return build_named(head)
