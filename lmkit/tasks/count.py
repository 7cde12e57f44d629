"""Parameters and arithmetic of a task's head from words alone."""

import math
from typing import assert_never

from lmkit.models.count import count, flops_per_token, norm_size
from lmkit.models.shrink import shrunk
from lmkit.models.spec import Body, Decoder, Encoder, stacks
from lmkit.tasks.spec import (
    AnyTask,
    CausalLm,
    Classification,
    CustomHead,
    DirectPreference,
    MaskedLm,
    MultipleChoice,
    PerToken,
    Pooled,
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


def count_head(task: AnyTask, body: Body, *, vocab_size: int, num_labels: int = 0) -> dict[str, int]:
    """Exact parameters of the head by part; a tied output projection belongs to the embeddings and counts 0.

    Of a custom head only its code knows them.
    """
    model = stacks(body)[-1]
    hidden, width = model.hidden_size, model.embedding_size or model.hidden_size
    match task:
        case CausalLm() | Seq2seq() | SpanCorruption() | PrefixLm() | DirectPreference():
            projection = {"projection": hidden * width} if model.embedding_size else {}
            return projection | _output(model, vocab_size, bias=False)
        case MaskedLm():
            transform = {"transform": _linear(hidden, width, model.output.transform_bias), "transform_norm": norm_size(model.norm, width)}
            return transform | _output(model, vocab_size, bias=True)
        case TwoSegments():
            return {"pooler": _linear(hidden, hidden), "classifier": _linear(hidden, 2)}
        case Classification():
            return _pooled(task, model, num_labels) if task.pools else {}
        case Regression() | Reward() | MultipleChoice():
            return _pooled(task, model, 1)
        case TokenClassification():
            return _per_token(task, model, "classifier", num_labels)
        case QuestionAnswering():
            return _per_token(task, model, "span", 2)
        case ReplacedToken():
            head = {"transform": _linear(hidden, hidden, model.output.transform_bias), "classifier": _linear(hidden, 1)}
            return head | _generator(task, model, vocab_size)
        case SentenceEmbedding():
            return {}
        case _:
            assert_never(task)


def head_flops_per_token(task: AnyTask, body: Body, *, vocab_size: int, length: int, num_labels: int = 0) -> dict[str, float]:
    """Floating-point operations of the head for a token of a row of `length`: `forward`, and `training` = 3 x forward.

    Matrix products only. A masked-LM head works at the chosen places, ceil(mask_rate x length) of a row; heads with one
    label a row work once a row.
    """
    model = stacks(body)[-1]
    hidden, width = model.hidden_size, model.embedding_size or model.hidden_size
    match task:
        case CausalLm() | Seq2seq() | SpanCorruption() | PrefixLm() | DirectPreference():
            forward = 2.0 * width * (vocab_size + (hidden if model.embedding_size else 0))
        case MaskedLm():
            forward = 2.0 * width * (hidden + vocab_size) * -(-task.mask_rate * length // 1) / length
        case TwoSegments():
            forward = 2.0 * hidden * (hidden + 2) / length
        case Classification(head=CustomHead()):
            forward = 0.0
        case Classification() | Regression() | Reward() | MultipleChoice():
            outputs = num_labels if isinstance(task, Classification) else 1
            forward = 2.0 * hidden * ((hidden if task.pooler_activation else 0) + outputs) / length
        case TokenClassification() | QuestionAnswering():
            outputs = num_labels if isinstance(task, TokenClassification) else 2
            forward = 2.0 * hidden * ((hidden if task.transform != "none" else 0) + outputs)
        case ReplacedToken():
            forward = 2.0 * hidden * (hidden + 1) + _generator_forward(task, model, vocab_size=vocab_size, length=length)
        case SentenceEmbedding():
            forward = 0.0
        case _:
            assert_never(task)
    return {"forward": forward, "training": 3 * forward}


def scored_per_row(task: AnyTask, *, length: int) -> int:
    """Tokens of a row whose scores over the vocabulary a task's head computes; a generator's are at the places that it fills."""
    if isinstance(task, CausalLm | Seq2seq | SpanCorruption | PrefixLm | DirectPreference):
        return length
    if isinstance(task, MaskedLm) or (isinstance(task, ReplacedToken) and task.generator is not None):
        return math.ceil(task.mask_rate * length)
    return 0


def _generator(task: ReplacedToken, model: Encoder | Decoder, vocab_size: int) -> dict[str, int]:
    if task.generator is None:
        return {}
    small = shrunk(model, task.generator.hidden_size, num_layers=task.generator.num_layers, max_length=1)
    parts = count(small, vocab_size=0, max_length=1) | count_head(MaskedLm(), small, vocab_size=vocab_size)
    return {"generator": sum(parts.values())}


def _generator_forward(task: ReplacedToken, model: Encoder | Decoder, **sizes: int) -> float:
    if task.generator is None:
        return 0.0
    small = shrunk(model, task.generator.hidden_size, num_layers=task.generator.num_layers, max_length=1)
    filled = head_flops_per_token(MaskedLm(mask_rate=task.mask_rate), small, **sizes)
    return flops_per_token(small, length=sizes["length"])["forward"] + filled["forward"]


def _output(model: Encoder | Decoder, vocab_size: int, *, bias: bool) -> dict[str, int]:
    output = {} if model.tie_embeddings else {"output": (model.embedding_size or model.hidden_size) * vocab_size}
    biased = bias if model.output.bias is None else model.output.bias
    return output | ({"bias": vocab_size} if biased else {})


def _pooled(task: Pooled, model: Encoder | Decoder, outputs: int) -> dict[str, int]:
    hidden = model.hidden_size
    parts = {"pooler": _linear(hidden, hidden, task.pooler_bias)} if task.pooler_activation else {}
    parts |= {"pooler_norm": norm_size(model.norm, hidden)} if task.pooler_norm else {}
    return parts | {"classifier": _linear(hidden, outputs, task.classifier_bias)}


def _per_token(task: PerToken, model: Encoder | Decoder, last: str, outputs: int) -> dict[str, int]:
    hidden = model.hidden_size
    parts = {"transform": _linear(hidden, hidden, task.transform_bias)} if task.transform != "none" else {}
    parts |= {"transform_norm": norm_size(model.norm, hidden)} if task.transform_norm else {}
    return parts | {last: _linear(hidden, outputs, task.classifier_bias)}


def _linear(size_in: int, size_out: int, bias: bool = True) -> int:
    return (size_in + bias) * size_out
