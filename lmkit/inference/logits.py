"""What the heads of a model say of rows of ids, each in its own shape: for comparisons of models, no answers for users."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lmkit.attention.multi_head import Collect
from lmkit.heads.model import Model
from lmkit.tasks.spec import AnyTask, CausalLm, MaskedLm, Pooled, PrefixLm, SentenceEmbedding, Seq2seq, SpanCorruption


def batch_of(tokens_BT: np.ndarray, mask_BT: np.ndarray | None = None, **others: Any) -> dict[str, Any]:
    """A batch of one document a row; `mask` is 1 where a token is real. `others` are further keys, such as `token_types`."""
    segments = np.ones_like(tokens_BT) if mask_BT is None else mask_BT.astype(np.int32)
    return {"tokens": tokens_BT.astype(np.int32), "segments": segments, **others}


def logits_of(model: Model, tasks: Mapping[str, AnyTask], batch: dict[str, Any], collect: Collect | None = None) -> dict[str, Any]:
    """By task the logits of every place, of every row, or the embeddings, as tensors; `hidden` among them is the body's output.

    Beside an encoder, that is `decoder_hidden`, and `encoder_hidden` its memory. `collect` receives what a body has to show
    of its inside.
    """
    seen: dict[str, Any] = {}

    def hear(name: str, value: Any) -> None:
        seen[name] = value
        if collect is not None:
            collect(name, value)

    hidden = model.hidden(batch, collect=hear, causal=spec_causal(tasks))
    found = {name: _one(task, model.heads[name], hidden, batch, model.backbone.token_embedding) for name, task in tasks.items()}
    if "encoder.states" in seen:
        return {"encoder_hidden": seen["encoder.states"], "decoder_hidden": hidden, **found}
    return {"hidden": hidden, **found}


def spec_causal(tasks: Mapping[str, AnyTask]) -> bool | None:
    """The mask that the tasks need, None the body's own."""
    if any(isinstance(task, CausalLm | Seq2seq | SpanCorruption | PrefixLm) for task in tasks.values()):
        return True
    return False if any(isinstance(task, MaskedLm) for task in tasks.values()) else None


def _one(task: AnyTask, head: Any, hidden: Any, batch: Mapping[str, Any], embedding: Any) -> Any:
    match task:
        case CausalLm() | MaskedLm() | Seq2seq() | SpanCorruption() | PrefixLm():
            return head.logits(hidden, embedding)
        case SentenceEmbedding():
            return head.embed(hidden, batch["segments"])
        case Pooled():
            return head.logits(hidden, batch["segments"], None, batch["tokens"])
        case _:
            return head.logits(hidden, batch["segments"])
