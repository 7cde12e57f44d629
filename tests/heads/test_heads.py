"""Heads and their losses: formulas, gradients, and independence of what else is in the batch."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from lmkit.blocks.spec import LayerNorm
from lmkit.engine.tensorflow import compiled, value_and_grad
from lmkit.heads.cross_entropy import cross_entropy, row_losses
from lmkit.heads.masked_language_model import gather_rows
from lmkit.heads.model import Model
from lmkit.heads.pooling import pool
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.derive import resolved
from lmkit.models.initialize import initialize
from lmkit.models.spec import Decoder, Encoder, Output
from lmkit.tasks.build import build_head
from lmkit.tasks.count import count_head
from lmkit.tasks.spec import (
    AnyTask,
    CausalLm,
    Classification,
    Generator,
    MaskedLm,
    NextSentence,
    QuestionAnswering,
    Regression,
    ReplacedToken,
    Seq2seq,
    TokenClassification,
)

RANDOM = np.random.default_rng(0)
TASKS: dict[str, AnyTask] = {
    "lm": CausalLm(),
    "mlm": MaskedLm(),
    "nsp": NextSentence(),
    "stars": Classification(pooling="mean"),
    "last": Classification(pooling="last"),
    "first": Classification(pooling="first"),
    "eos": Classification(pooling="eos", end_id=3, pooler="tanh", pooler_bias=False, pooler_norm=True, classifier_bias=False),
    "number": Regression(pooling="mean", pooler="relu"),
    "names": TokenClassification(),
    "names_through": TokenClassification(transform="gelu", transform_norm=True, transform_bias=False, classifier_bias=False),
    "span": QuestionAnswering(),
    "replaced": ReplacedToken(),
    "rtd": ReplacedToken(generator=Generator(hidden_size=0.5, num_layers=1)),
    "answer": Seq2seq(label_smoothing=0.1),
}
PER_TOKEN = ("lm", "answer", "names", "names_through", "replaced", "rtd")
VOCAB, LABELS = 30, 3


def model(*names: str, cls: type = Encoder, **changes: Any) -> Model:
    spec = cls(**{"num_layers": 2, "hidden_size": 16, "num_heads": 2, "norm": LayerNorm(placement="post"), "dropout": 0.1} | changes)
    backbone = build_backbone(spec, vocab_size=VOCAB, max_length=12)
    heads = {name: build_head(TASKS[name], name, backbone=backbone, model_spec=spec, num_labels=LABELS, max_length=12) for name in names}
    built = Model(backbone, heads)
    initialize(built, 0)
    return built


def batch(*names: str, rows: int = 4, length: int = 8) -> dict[str, np.ndarray]:
    segments = (np.arange(length) < RANDOM.integers(3, length + 1, (rows, 1))).astype(np.int32)
    made = {
        "tokens": RANDOM.integers(0, VOCAB, (rows, length)).astype(np.int32),
        "segments": segments,
        "positions": np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
        "token_types": np.zeros((rows, length), np.int32),
        "row_key": np.arange(rows, dtype=np.uint32),
    }
    for name in names:
        shape = (rows, length) if name in PER_TOKEN else (rows, 2) if name == "mlm" else (rows,)
        made[f"{name}/labels"] = RANDOM.integers(0, 2, (rows, 2) if name == "span" else shape).astype(np.int32)
        made[f"{name}/weights"] = RANDOM.integers(0, 2, shape).astype(np.float32) * (segments if name in PER_TOKEN else 1)
        if name == "mlm":
            made["mlm/where"] = RANDOM.integers(0, 3, shape).astype(np.int32)
        if name == "rtd":
            made["rtd/masked"] = RANDOM.integers(0, VOCAB, shape).astype(np.int32)
            made["rtd/where"] = np.tile(np.array([2, 0], np.int32), (rows, 1))
            made["rtd/hidden"] = np.take_along_axis(made["tokens"], made["rtd/where"], axis=1)
            made["rtd/shares"] = np.tile(np.array([4, 3], np.float32), (rows, 1))
    return made


def rows_of(data: dict[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
    return {name: value[rows] for name, value in data.items()}


def test_cross_entropy_is_its_formula_and_safe_for_large_logits() -> None:
    logits, labels = 50 * RANDOM.normal(size=(40, 7)).astype(np.float32), RANDOM.integers(0, 7, 40).astype(np.int32)
    wide = logits.astype(np.float64)
    expected = np.log(np.sum(np.exp(wide - wide.max(-1, keepdims=True)), -1)) + wide.max(-1) - wide[np.arange(40), labels]
    loss, correct = cross_entropy(ops.convert_to_tensor(logits), labels)
    np.testing.assert_allclose(np.asarray(loss), expected, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(correct), wide.argmax(-1) == labels)


@pytest.mark.parametrize("xla", [False, True])
def test_the_gradient_of_cross_entropy_is_the_softmax_less_the_label(xla: bool) -> None:
    logits = keras.Variable(RANDOM.normal(size=(6, 5)).astype(np.float32))
    labels, weights = np.array([0, 1, 2, 3, 4, 0], np.int32), np.array([1, 0, 2, 1, 1, 1], np.float32)

    def run(labels: Any, weights: Any) -> Any:
        return value_and_grad(lambda: (ops.sum(row_losses(ops.convert_to_tensor(logits), labels, weights)["loss"]), ()), [logits])[2][0]

    soft = np.exp(np.asarray(logits)) / np.exp(np.asarray(logits)).sum(-1, keepdims=True)
    got = np.asarray(compiled(run, xla=xla)(labels, weights))
    np.testing.assert_allclose(got, (soft - np.eye(5)[labels]) * weights[:, None], atol=1e-6)
    assert np.all(got[1] == 0)


def test_pooling_reads_real_tokens_only() -> None:
    hidden = RANDOM.normal(size=(2, 4, 3)).astype(np.float32)
    segments = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], np.int32)
    np.testing.assert_allclose(np.asarray(pool(hidden, segments, "first")), hidden[:, 0])
    np.testing.assert_allclose(np.asarray(pool(hidden, segments, "last")), hidden[[0, 1], [2, 0]])
    np.testing.assert_allclose(np.asarray(pool(hidden, segments, "mean")), [hidden[0, :3].mean(0), hidden[1, 0]], rtol=1e-5)
    tokens = np.array([[7, 5, 7, 7], [5, 7, 7, 7]], np.int32)
    np.testing.assert_allclose(np.asarray(pool(hidden, segments, "eos", tokens_BT=tokens, end_id=7)), hidden[[0, 1], [2, 0]])


@pytest.mark.parametrize("name", TASKS)
def test_a_row_s_loss_and_prediction_do_not_depend_on_its_batch(name: str) -> None:
    built, data = model(name, dropout=0.3), batch(name)
    for training in (False, True):
        together = built(data, row_key=data["row_key"] if training else None)[name]
        part = rows_of(data, slice(1, 3))
        alone = built(part, row_key=part["row_key"] if training else None)[name]
        for key, value in alone.items():
            np.testing.assert_allclose(np.asarray(together[key])[1:3], np.asarray(value), atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", TASKS)
def test_padding_changes_no_loss_and_no_prediction(name: str) -> None:
    built, data = model(name), batch(name)
    longer = {
        key: np.pad(value, [(0, 0), (0, 3)]) if key != f"{name}/where" and value.shape[1:] == (8,) else value for key, value in data.items()
    }
    short, long = built(data)[name], built(longer)[name]
    for key in ("loss", "weight", "correct"):
        np.testing.assert_allclose(np.asarray(short[key]), np.asarray(long[key]), atol=1e-5)
    if name == "span":
        np.testing.assert_array_equal(np.asarray(short["predicted"]), np.asarray(long["predicted"]))


def test_a_row_of_padding_has_no_loss_and_no_weight() -> None:
    names = ("mlm", "nsp", "stars", "last", "first", "eos", "number", "names", "span")
    built, data = model(*names), batch(*names)
    for name, value in data.items():
        if name != "row_key":
            value[3] = 0
    for out in built(data).values():
        assert float(out["loss"][3]) == float(out["weight"][3]) == float(out["correct"][3]) == 0


def test_heads_take_part_iff_their_keys_are_there() -> None:
    built = model("mlm", "nsp", "lm")
    assert set(built(batch("mlm", "nsp"))) == {"mlm", "nsp"}
    assert set(built(batch("lm"))) == {"lm"}
    with pytest.raises(ValueError, match="mixes"):
        built.causal_in(batch("lm", "mlm"))


@pytest.mark.parametrize(
    ("cls", "name", "causal"), [(Encoder, "lm", True), (Decoder, "mlm", False), (Decoder, "stars", True), (Encoder, "nsp", False)]
)
def test_the_task_chooses_the_mask_or_leaves_it_to_the_body(cls: type, name: str, causal: bool) -> None:
    assert model(name, cls=cls).causal_in(batch(name)) is causal


def test_masked_lm_reads_only_its_places_and_ignored_ones_give_no_gradient() -> None:
    built, data = model("mlm"), batch("mlm")
    data["mlm/weights"][:] = 0
    _, _, gradients = value_and_grad(lambda: (ops.sum(built(data)["mlm"]["loss"]), ()), built.trainable_weights)
    assert all(np.all(np.asarray(gradient) == 0) for gradient in gradients)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", TASKS)
def test_words_predict_the_parameters_of_a_head(name: str, tied: bool) -> None:
    built = model(name, tie_embeddings=tied)
    spec = Encoder(num_layers=2, hidden_size=16, num_heads=2, norm=LayerNorm(placement="post"), tie_embeddings=tied)
    parts = count_head(TASKS[name], resolved(spec, max_length=12), vocab_size=VOCAB, num_labels=LABELS)
    found = dict.fromkeys(parts, 0)
    for weight in built.heads[name].weights:
        root, task, part, *_ = canonical(weight).split(".")
        assert (root, task) == ("heads", name)
        found[part] += int(np.prod(weight.shape))
    assert found == parts


def test_the_loss_of_an_untrained_model_is_that_of_guessing() -> None:
    out = model("lm", cls=Decoder)(batch("lm"))["lm"]
    np.testing.assert_allclose(np.sum(out["loss"]) / np.sum(out["weight"]), np.log(VOCAB), rtol=0.05)


@given(rows=st.integers(1, 4), places=st.integers(1, 4))
def test_gathering_reads_each_row_s_own_places(rows: int, places: int) -> None:
    hidden = RANDOM.normal(size=(rows, 5, 2)).astype(np.float32)
    where = RANDOM.integers(0, 5, (rows, places)).astype(np.int32)
    np.testing.assert_array_equal(np.asarray(gather_rows(hidden, where)), np.take_along_axis(hidden, where[:, :, None], axis=1))


@pytest.mark.parametrize("name", TASKS)
def test_symbolic_shapes_are_the_real_ones(name: str) -> None:
    built, data = model(name), batch(name)
    symbols = {key: keras.KerasTensor(value.shape, dtype=value.dtype.name) for key, value in data.items()}
    real, symbolic = built(data)[name], built(symbols)[name]
    assert {key: tuple(value.shape) for key, value in symbolic.items()} == {key: tuple(value.shape) for key, value in real.items()}


@pytest.mark.parametrize("name", TASKS)
def test_a_gradient_reaches_every_weight_of_a_head(name: str) -> None:
    built, data = model(name, tie_embeddings=False, embedding_size=8), batch(name)
    data[f"{name}/weights"][:] = data["segments"] if name in PER_TOKEN else 1
    head = built.heads[name]
    _, _, gradients = value_and_grad(lambda: (ops.sum(built(data, row_key=data["row_key"])[name]["loss"]), ()), head.trainable_weights)
    assert [canonical(w) for w, g in zip(head.trainable_weights, gradients, strict=True) if not np.any(np.asarray(g))] == []


@pytest.mark.parametrize("name", TASKS)
def test_a_head_from_its_config_with_the_same_weights_is_the_same_head(name: str) -> None:
    built, data = model(name), batch(name)
    again = Model.from_config(built.get_config())
    assert again.get_config() == built.get_config()
    assert [canonical(weight) for weight in again.weights] == [canonical(weight) for weight in built.weights]
    for ours, theirs in zip(again.weights, built.weights, strict=True):
        ours.assign(theirs)
    for key in (None, data["row_key"]):
        for what, value in built(data, row_key=key)[name].items():
            np.testing.assert_array_equal(np.asarray(again(data, row_key=key)[name][what]), np.asarray(value))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lm", {}),
        ("lm", {"tie_embeddings": False, "embedding_size": 8, "output": Output(softcap=3.0, scale=2.0, bias=True)}),
        ("answer", {}),
        ("mlm", {}),
    ],
)
def test_losses_of_some_tokens_at_a_time_are_those_of_all_at_once(name: str, changes: dict[str, Any]) -> None:
    built, data = model(name, **changes), batch(name)

    def run(row_key: Any) -> Any:
        return value_and_grad(lambda: (ops.sum((out := built(data, row_key=row_key)[name])["loss"]), out), built.trainable_weights)

    for row_key in (data["row_key"], None):
        wanted = keras.tree.flatten(run(row_key))
        built.score_in_chunks(5)
        found = keras.tree.flatten(run(row_key))
        built.score_in_chunks(None)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TASKS)
def test_losses_of_a_bfloat16_model_are_float32_and_near(name: str) -> None:
    data, exact = batch(name), model(name)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = model(name)
    finally:
        keras.config.set_dtype_policy("float32")
    out = mixed(data)[name]
    assert {out[key].dtype.name for key in ("loss", "weight", "correct")} == {"float32"}
    np.testing.assert_allclose(np.asarray(out["loss"]), np.asarray(exact(data)[name]["loss"]), rtol=0.05, atol=0.02)
