"""The door of tasks: the head that belongs to a task's words, for a given body."""

from typing import Any, assert_never

from lmkit.blocks.build import build_norm
from lmkit.heads.generator import Generator as GeneratorLayer
from lmkit.heads.head import Head, build_named
from lmkit.heads.label_set import LabelSetHead
from lmkit.heads.language_model import LanguageModelHead
from lmkit.heads.masked_language_model import MaskedLanguageModelHead
from lmkit.heads.multiple_choice import MultipleChoiceHead
from lmkit.heads.preference import DirectPreferenceHead, RewardHead
from lmkit.heads.question_answering import QuestionAnsweringHead
from lmkit.heads.regression import RegressionHead
from lmkit.heads.replaced_token import ReplacedTokenHead
from lmkit.heads.sentence_embedding import SentenceEmbeddingHead
from lmkit.heads.sequence_class import SequenceClassHead
from lmkit.heads.token_class import TokenClassHead
from lmkit.layers.build import build_custom
from lmkit.models.build import build_stack
from lmkit.models.derive import transform_activation, transform_norm
from lmkit.models.shrink import shrunk
from lmkit.models.spec import Body, Decoder, Encoder, stacks
from lmkit.tasks.spec import (
    AnyTask,
    CausalLm,
    Classification,
    CustomHead,
    DirectPreference,
    Generator,
    Labelled,
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


def build_head(task: AnyTask, name: str, *, backbone: Any, model_spec: Body, num_labels: int = 0, max_length: int = 0) -> Head:
    """The head, built under `heads.{name}`; `num_labels` is needed for classification only, of rows or tokens, `max_length`, that of
    rows, for a generator.

    Beside an encoder, a head reads the decoder.
    """
    if isinstance(task, Labelled) and num_labels < 2:
        raise ValueError(f"{task.kind} needs two labels or more, got {num_labels}")
    return build_named(_head(task, stacks(model_spec)[-1], name, backbone.vocab_size, num_labels, max_length))


def _head(task: AnyTask, spec: Encoder | Decoder, name: str, vocab: int, num_labels: int, max_length: int) -> Head:
    hidden, activation = spec.hidden_size, transform_activation(spec)
    match task:
        case CausalLm() | SpanCorruption() | PrefixLm():
            return LanguageModelHead(hidden, vocab, name=name, **_output(spec, bias=False))
        case DirectPreference():
            own: dict[str, Any] = {"beta": task.beta, "loss": task.loss, "smoothing": task.label_smoothing}
            return DirectPreferenceHead(hidden, vocab, name=name, **own, **_output(spec, bias=False))
        case Reward():
            return RewardHead(hidden, 1, name=name, **_pooled(task, spec))
        case Seq2seq():
            return LanguageModelHead(hidden, vocab, label_smoothing=task.label_smoothing, name=name, **_output(spec, bias=False))
        case MaskedLm():
            return _masked(spec, vocab, name)
        case TwoSegments():
            return SequenceClassHead(hidden, 2, pooling="first", pooler="tanh", name=name)
        case Classification(head=CustomHead() as head):
            return build_custom(head, name=name, hidden_size=hidden, num_labels=num_labels)
        case Classification(multi_label=True):
            return LabelSetHead(hidden, num_labels, threshold=task.threshold, name=name, **_pooled(task, spec))
        case Classification():
            return SequenceClassHead(hidden, num_labels, label_smoothing=task.label_smoothing, name=name, **_pooled(task, spec))
        case Regression():
            return RegressionHead(hidden, 1, name=name, **_pooled(task, spec))
        case MultipleChoice():
            return MultipleChoiceHead(hidden, 1, name=name, **_pooled(task, spec))
        case TokenClassification():
            return TokenClassHead(hidden, num_labels, name=name, **_per_token(task, spec))
        case QuestionAnswering():
            return QuestionAnsweringHead(hidden, 2, name=name, **_per_token(task, spec))
        case ReplacedToken():
            shape: dict[str, Any] = {"transform": activation, "transform_bias": spec.output.transform_bias}
            beside = None if task.generator is None else _generator(task.generator, spec, vocab, max_length)
            return ReplacedTokenHead(hidden, 1, generator=beside, discriminator_weight=task.discriminator_weight, name=name, **shape)
        case SentenceEmbedding():
            shape = {"pooling": task.pooling, "normalize": task.normalize}
            group: dict[str, Any] = {"negatives": task.negatives, "temperature": task.temperature, "symmetric": task.symmetric}
            return SentenceEmbeddingHead(loss=task.loss, name=name, **shape, **group)
        case _:
            assert_never(task)


def _masked(spec: Encoder | Decoder, vocab: int, name: str) -> MaskedLanguageModelHead:
    norm = build_norm(transform_norm(spec), spec.embedding_size or spec.hidden_size, name="transform_norm")
    transform: dict[str, Any] = {"activation": transform_activation(spec), "transform_bias": spec.output.transform_bias}
    return MaskedLanguageModelHead(spec.hidden_size, vocab, transform_norm=norm, name=name, **transform, **_output(spec, bias=True))


def _generator(words: Generator, spec: Encoder | Decoder, vocab: int, max_length: int) -> GeneratorLayer:
    if max_length < 1:
        raise ValueError("a generator needs the length of rows")
    small = shrunk(spec, words.hidden_size, num_layers=words.num_layers, max_length=max_length)
    encoder = build_stack(small, vocab_size=0, max_length=max_length, name=small.kind)
    return GeneratorLayer(encoder, _masked(small, vocab, "head"))


def _output(spec: Encoder | Decoder, *, bias: bool) -> dict[str, Any]:
    words = spec.output
    own = {
        "bias": bias if words.bias is None else words.bias,
        "train_bias": words.train_bias,
        "scale": words.scale,
        "softcap": words.softcap,
    }
    return {"tied": spec.tie_embeddings, "embedding_size": spec.embedding_size, **own}


def _pooled(task: Pooled, spec: Encoder | Decoder) -> dict[str, Any]:
    return {
        "pooling": task.pooling,
        "end_id": task.end_id,
        "pooler": task.pooler_activation,
        "pooler_bias": task.pooler_bias,
        "pooler_norm": build_norm(spec.norm, spec.hidden_size, name="pooler_norm") if task.pooler_norm else None,
        "classifier_bias": task.classifier_bias,
        "dropout": task.dropout,
    }


def _per_token(task: PerToken, spec: Encoder | Decoder) -> dict[str, Any]:
    return {
        "transform": None if task.transform == "none" else task.transform,
        "transform_bias": task.transform_bias,
        "transform_norm": build_norm(spec.norm, spec.hidden_size, name="transform_norm") if task.transform_norm else None,
        "classifier_bias": task.classifier_bias,
        "dropout": task.dropout,
    }
