"""What heads make of hidden states: the formulas of their logits and losses, in numpy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from lmkit.blocks.spec import LayerNorm
from lmkit.heads.cross_entropy import binary_cross_entropy, cross_entropy
from lmkit.heads.head import Head
from lmkit.heads.label_set import LabelSetHead
from lmkit.heads.language_model import LanguageModelHead
from lmkit.heads.preference import DirectPreferenceHead
from lmkit.heads.regression import squared_error
from lmkit.heads.sentence_embedding import SentenceEmbeddingHead, unit
from lmkit.heads.vocabulary import softcapped
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import Decoder, Encoder, Output
from lmkit.tasks.build import build_head
from lmkit.tasks.count import count_head
from lmkit.tasks.spec import AnyTask, CausalLm, Classification, MaskedLm, QuestionAnswering, ReplacedToken, TokenClassification

RANDOM = np.random.default_rng(0)
VOCAB = 11
SIZES = {"num_layers": 1, "hidden_size": 8, "num_heads": 2}


def made(task: AnyTask, spec: Encoder | Decoder, num_labels: int = 3) -> tuple[Head, dict[str, np.ndarray], Any]:
    """A head with random weights, those weights by their names below the head, and the token table."""
    backbone = build_backbone(spec, vocab_size=VOCAB, max_length=6)
    head = build_head(task, "it", backbone=backbone, model_spec=spec, num_labels=num_labels)
    initialize(backbone, 0)
    for weight in head.weights:
        weight.assign(RANDOM.normal(size=weight.shape).astype(np.float32))
    names = {canonical(weight).removeprefix("heads.it."): np.asarray(weight, np.float64) for weight in head.weights}
    found = {name: int(np.prod(value.shape)) for name, value in names.items()}
    parts = count_head(task, spec, vocab_size=VOCAB, num_labels=num_labels)
    assert {part: sum(size for name, size in found.items() if name.split(".")[0] == part) for part in parts} == parts
    assert sum(found.values()) == sum(parts.values())
    return head, names, np.asarray(backbone.token_embedding)


def normed(x: np.ndarray, names: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * names[f"{name}.scale"] + names[f"{name}.bias"]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("width", [None, 4, 8])
@pytest.mark.parametrize("output", [Output(), Output(bias=True), Output(scale=0.25, softcap=2.0), Output(bias=True, softcap=1.0)])
def test_a_causal_head_projects_scales_biases_and_caps(tied: bool, width: int | None, output: Output) -> None:
    spec = Decoder(**SIZES, embedding_size=width, tie_embeddings=tied, output=output)
    head, names, table = made(CausalLm(), spec)
    hidden = RANDOM.normal(size=(2, 3, 8)).astype(np.float32)
    x = hidden @ names["projection.kernel"] if width else hidden
    expected = output.scale * (x @ (table.T if tied else names["output.kernel"])) + names.get("bias", 0)
    if output.softcap:
        expected = output.softcap * np.tanh(expected / output.softcap)
    np.testing.assert_allclose(np.asarray(head.logits(hidden, table)), expected, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("width", [None, 4, 8])
@pytest.mark.parametrize("output", [Output(), Output(bias=False, transform_bias=False, transform_activation="relu")])
def test_a_masked_head_transforms_to_the_width_of_the_table(tied: bool, width: int | None, output: Output) -> None:
    spec = Encoder(**SIZES, norm=LayerNorm(placement="post"), embedding_size=width, tie_embeddings=tied, output=output)
    head, names, table = made(MaskedLm(), spec)
    hidden = RANDOM.normal(size=(2, 3, 8)).astype(np.float32)
    x = hidden @ names["transform.kernel"] + names.get("transform.bias", 0)
    x = np.maximum(x, 0) if output.transform_activation == "relu" else np.asarray(ops.gelu(x, approximate=False))
    x = normed(x, names, "transform_norm")
    expected = x @ (table.T if tied else names["output.kernel"]) + names.get("bias", 0)
    assert ("bias" in names) is (output.bias is None)
    np.testing.assert_allclose(np.asarray(head.logits(hidden, table)), expected, atol=1e-4)


@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("pooler", ["none", "tanh", "relu", None])
def test_a_pooler_stands_before_the_classifier_if_it_is_asked_for(pooling: Any, pooler: Any) -> None:
    norm = pooler in ("tanh", "relu")
    task = Classification(pooling=pooling, pooler=pooler, pooler_norm=norm, pooler_bias=not norm, classifier_bias=norm)
    head, names, _ = made(task, Encoder(**SIZES))
    hidden = RANDOM.normal(size=(2, 3, 8)).astype(np.float32)
    x = hidden[:, 0] if pooling == "first" else hidden.mean(1)
    activation = {None: np.tanh if pooling == "first" else None, "tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "none": None}[pooler]
    if activation:
        x = activation(x @ names["pooler.kernel"] + names.get("pooler.bias", 0))
    if norm:
        x = normed(x, names, "pooler_norm")
    expected = x @ names["classifier.kernel"] + names.get("classifier.bias", 0)
    np.testing.assert_allclose(np.asarray(head.logits(hidden, np.ones((2, 3), np.int32))), expected, atol=1e-4)


@pytest.mark.parametrize("task", [TokenClassification(transform="relu", transform_bias=False), QuestionAnswering(), ReplacedToken()])
def test_heads_for_tokens_answer_each_by_itself(task: AnyTask) -> None:
    head, names, _ = made(task, Encoder(**SIZES, output=Output(transform_activation="relu")))
    hidden = RANDOM.normal(size=(2, 3, 8)).astype(np.float32)
    x = hidden
    if "transform.kernel" in names:
        x = np.maximum(x @ names["transform.kernel"] + names.get("transform.bias", 0), 0)
    last = "span" if isinstance(task, QuestionAnswering) else "classifier"
    expected = x @ names[f"{last}.kernel"] + names[f"{last}.bias"]
    shaped = {"question_answering": lambda x: x.transpose(0, 2, 1), "replaced_token": lambda x: x[..., 0]}.get(task.kind, lambda x: x)
    np.testing.assert_allclose(np.asarray(head.logits(hidden)), shaped(expected), atol=1e-4)


def test_an_answer_never_begins_or_ends_in_padding() -> None:
    head, _, _ = made(QuestionAnswering(), Encoder(**SIZES))
    hidden, segments = RANDOM.normal(size=(5, 4, 8)).astype(np.float32), np.tile(np.array([[1, 1, 0, 0]], np.int32), (5, 1))
    batch = {"segments": segments, "it/labels": np.array([[0, 1]] * 5), "it/weights": np.arange(5, dtype=np.float32)}
    out = head(hidden, batch=batch, embedding=None)
    assert np.all(np.asarray(out["predicted"]) < 2)
    scores = np.asarray(head.logits(hidden), np.float64)[:, :, :2]
    likely = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    np.testing.assert_allclose(np.asarray(out["loss"]), -(likely[:, 0, 0] + likely[:, 1, 1]) / 2 * np.arange(5), rtol=1e-5)


@given(smoothing=st.floats(0, 0.9), classes=st.integers(2, 9))
def test_label_smoothing_mixes_the_label_with_all_classes_alike(smoothing: float, classes: int) -> None:
    logits, labels = RANDOM.normal(size=(6, classes)).astype(np.float32) * 9, RANDOM.integers(0, classes, 6)
    wide = logits.astype(np.float64)
    logs = wide - wide.max(-1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(-1, keepdims=True))
    target = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes
    loss, _ = cross_entropy(ops.convert_to_tensor(logits), labels, smoothing)
    np.testing.assert_allclose(np.asarray(loss), -(target * logs).sum(-1), atol=1e-4)


def test_smoothing_is_for_training_alone() -> None:
    from lmkit.tasks.spec import Seq2seq

    plain, _, table = made(CausalLm(), Decoder(**SIZES))
    smooth, _, _ = made(Seq2seq(label_smoothing=0.3), Decoder(**SIZES))
    batch = {"it/labels": np.ones((2, 3), np.int32), "it/weights": np.ones((2, 3), np.float32)}
    hidden, key = RANDOM.normal(size=(2, 3, 8)).astype(np.float32), np.arange(2, dtype=np.uint32)
    expected = np.asarray(plain(hidden, batch=batch, embedding=table)["loss"])
    np.testing.assert_allclose(np.asarray(smooth(hidden, batch=batch, embedding=table)["loss"]), expected, rtol=1e-6)
    assert np.all(np.abs(np.asarray(smooth(hidden, batch=batch, embedding=table, row_key=key)["loss"]) - expected) > 1e-4)


@given(st.floats(-80, 80), st.sampled_from([0, 1]))
def test_binary_cross_entropy_is_its_formula(logit: float, label: int) -> None:
    expected = np.logaddexp(0, logit) - logit * label
    found = binary_cross_entropy(np.array([logit], np.float32), np.array([label], np.int32))
    np.testing.assert_allclose(np.asarray(found)[0], expected, atol=1e-4)


def test_errors_and_caps_are_their_formulas() -> None:
    np.testing.assert_allclose(np.asarray(squared_error(np.array([1.0, -2.0], np.float32), np.array([3, 1]))), [4, 9])
    x = np.linspace(-100, 100, 9, dtype=np.float32)
    np.testing.assert_allclose(np.asarray(softcapped(ops.convert_to_tensor(x), 30.0)), 30 * np.tanh(x / 30), atol=1e-5)


def test_sentence_embeddings_are_means_of_length_one() -> None:
    hidden, segments = RANDOM.normal(size=(2, 3, 8)).astype(np.float32), np.array([[1, 1, 0], [0, 0, 0]], np.int32)
    expected = hidden[0, :2].mean(0)
    raw = np.asarray(SentenceEmbeddingHead(normalize=False, name="it").embed(hidden, segments))
    np.testing.assert_allclose(raw, [expected, np.zeros(8)], atol=1e-6)
    out = SentenceEmbeddingHead(name="it").embed(hidden, segments)
    np.testing.assert_allclose(np.asarray(out), [expected / np.linalg.norm(expected), np.zeros(8)], atol=1e-6)
    assert np.all(np.isfinite(np.asarray(unit(np.zeros((1, 3), np.float32)))))


@pytest.mark.parametrize("cls", [LanguageModelHead, DirectPreferenceHead])
def test_a_config_forgets_no_word_of_the_output(cls: type[LanguageModelHead]) -> None:
    words = {"tied": False, "embedding_size": 4, "bias": True, "train_bias": False, "scale": 2.0, "softcap": 3.0}
    again = cls.from_config(cls(8, 16, name="lm", **words).get_config())
    assert {name: getattr(again, name) for name in words} == words


def test_a_config_of_label_sets_has_the_words_of_its_pooling() -> None:
    words = {"pooling": "mean", "pooler": "relu", "pooler_bias": False, "classifier_bias": False, "dropout": 0.3, "threshold": 0.2}
    again = LabelSetHead.from_config(LabelSetHead(8, 3, name="topics", **words).get_config())  # type: ignore[arg-type]
    assert {name: getattr(again, name) for name in words} == words
