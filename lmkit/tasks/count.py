"""Parameters and arithmetic of a task's head from words alone."""

from typing import assert_never

from lmkit.models.spec import Decoder, Encoder
from lmkit.tasks.spec import AnyTask, CausalLm, Classification, MaskedLm, NextSentence


def count_head(task: AnyTask, model: Encoder | Decoder, *, vocab_size: int, num_labels: int = 0) -> dict[str, int]:
    """Exact parameters of the head by part; a tied output projection belongs to the embeddings and counts 0."""
    hidden = model.hidden_size
    output = {} if model.tie_embeddings else {"output": hidden * vocab_size}
    match task:
        case CausalLm():
            return output
        case MaskedLm():
            norm = hidden * (2 if model.norm.kind == "layer_norm" else 1)
            return {"transform": _linear(hidden, hidden), "transform_norm": norm, "bias": vocab_size, **output}
        case NextSentence():
            return {"pooler": _linear(hidden, hidden), "classifier": _linear(hidden, 2)}
        case Classification():
            pooler = {"pooler": _linear(hidden, hidden)} if task.pooling == "first" else {}
            return {**pooler, "classifier": _linear(hidden, num_labels)}
        case _:
            assert_never(task)


def head_flops_per_token(task: AnyTask, model: Encoder | Decoder, *, vocab_size: int, length: int, num_labels: int = 0) -> dict[str, float]:
    """Floating-point operations of the head for a token of a row of `length`: `forward`, and `training` = 3 x forward.

    Matrix products only. A masked-LM head works at the chosen places, ceil(mask_rate x length) of a row; heads with one
    label a row work once a row.
    """
    hidden = model.hidden_size
    match task:
        case CausalLm():
            forward = 2.0 * hidden * vocab_size
        case MaskedLm():
            forward = 2.0 * hidden * (hidden + vocab_size) * -(-task.mask_rate * length // 1) / length
        case NextSentence():
            forward = 2.0 * hidden * (hidden + 2) / length
        case Classification():
            forward = 2.0 * hidden * ((hidden if task.pooling == "first" else 0) + num_labels) / length
        case _:
            assert_never(task)
    return {"forward": forward, "training": 3 * forward}


def _linear(size_in: int, size_out: int) -> int:
    return (size_in + 1) * size_out
