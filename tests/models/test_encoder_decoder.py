"""An encoder with a decoder beside it: what each side sees, what is shared, and decoding step by step."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from lmkit.engine.tensorflow import compiled, value_and_grad
from lmkit.heads.model import Model
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.count import count, flops_per_token
from lmkit.models.encoder_decoder import EncoderDecoderBackbone
from lmkit.models.initialize import initialize
from lmkit.models.names import matches
from lmkit.models.spec import EncoderDecoder
from lmkit.tasks.build import build_head
from lmkit.tasks.count import count_head
from lmkit.tasks.spec import AnyTask, Classification, Seq2seq

ROWS, SOURCE, TARGET, VOCAB = 3, 7, 5, 20
MEMBERS: dict[str, dict[str, Any]] = {
    "t5": {"position": "relative", "norm": "rms_norm", "attention": {"scale": 1.0}, "output": {"scale": 0.25}},
    "bart": {
        "position": {"kind": "learned", "offset": 2},
        "norm": {"kind": "layer_norm", "placement": "post"},
        "output": {"bias": True},
        "start_id": 2,
    },
    "sides_differ": {
        "tie_embeddings": "none",
        "encoder": {"hidden_size": 24, "num_heads": 2, "position": "rotary", "num_layers": 1, "token_types": 2},
        "decoder": {"num_kv_heads": 2, "position": "alibi", "norm": {"kind": "rms_norm", "placement": "sandwich"}, "feed_forward": "gated"},
    },
    "output_alone": {
        "tie_embeddings": "output",
        "position": "sinusoidal",
        "attention": {"qk_norm": "head"},
        "embedding_scale": "sqrt_hidden",
    },
    "inputs_alone": {
        "tie_embeddings": "inputs",
        "position": "none",
        "embedding_size": 8,
        "norm": {"kind": "layer_norm", "placement": "branch_post"},
    },
    "shared_layers": {"num_layers": 4, "layer_groups": 2, "position": "rotary", "final_norm": False},
}


def spec_of(member: str) -> EncoderDecoder:
    words = {"kind": "encoder_decoder", "num_layers": 2, "hidden_size": 16, "num_heads": 4, "dropout": 0.1}
    found = EncoderDecoder.model_validate(words | MEMBERS[member])
    assert list(found.problems()) == []
    return found


def filled(built: Any) -> Any:
    initialize(built, 1)
    for weight in built.weights:  # so that biases and scales show
        weight.assign_add(0.1 * np.random.default_rng(2).normal(size=weight.shape).astype(np.float32))
    return built


def body(member: str, **options: Any) -> EncoderDecoderBackbone:
    built = build_backbone(spec_of(member), vocab_size=VOCAB, max_length=12, **options)
    return filled(built)  # type: ignore[no-any-return]


def model(member: str, task: AnyTask | None = None, **options: Any) -> Model:
    built = body(member, **options)
    head = build_head(task or Seq2seq(), "it", backbone=built, model_spec=spec_of(member), num_labels=3)
    return filled(Model(built, {"it": head}))  # type: ignore[no-any-return]


def batch(rows: int = ROWS, source: int = SOURCE, target: int = TARGET) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "tokens": random.integers(0, VOCAB, (rows, source)).astype(np.int32),
        "segments": (np.arange(source) < np.array([[7], [4], [5]])[:rows]).astype(np.int32),
        "decoder/tokens": random.integers(0, VOCAB, (rows, target)).astype(np.int32),
        "decoder/segments": (np.arange(target) < np.array([[5], [5], [3]])[:rows]).astype(np.int32),
        "row_key": np.arange(rows, dtype=np.uint32) + 9,
        "it/labels": random.integers(0, VOCAB, (rows, target)).astype(np.int32),
        "it/weights": (np.arange(target) < np.array([[5], [5], [3]])[:rows]).astype(np.float32),
    }


def hidden_of(built: EncoderDecoderBackbone, data: dict[str, np.ndarray], **options: Any) -> np.ndarray:
    decoder = {f"decoder_{name}": data[f"decoder/{name}"] for name in ("tokens", "segments")}
    return np.asarray(built(data["tokens"], segments=data["segments"], **decoder, **options))


@pytest.mark.parametrize("member", MEMBERS)
def test_words_predict_every_part_of_what_is_built(member: str) -> None:
    spec, built = spec_of(member), model(member)
    parts = count(spec, vocab_size=VOCAB, max_length=12)
    found = dict.fromkeys(parts, 0)
    for weight in built.backbone.weights:
        found[next(part for part in parts if canonical(weight).startswith(part + "."))] += int(np.prod(weight.shape))
    assert found == parts
    heads = {canonical(weight): int(np.prod(weight.shape)) for weight in built.heads["it"].weights}
    assert sum(count_head(Seq2seq(), spec, vocab_size=VOCAB).values()) == sum(heads.values())


def test_tables_stand_where_the_sides_that_read_them_do() -> None:
    def tables(member: str) -> set[str]:
        return {
            canonical(weight) for weight in model(member).weights if "token." in canonical(weight) or ".output.kernel" in canonical(weight)
        }

    blocks = {name for name in tables("bart") if "layers" in name}
    assert tables("bart") - blocks == {"embeddings.token.embedding"}
    assert {name for name in tables("inputs_alone") if "layers" not in name} == {"embeddings.token.embedding", "heads.it.output.kernel"}
    both = {"encoder.embeddings.token.embedding", "decoder.embeddings.token.embedding"}
    assert {name for name in tables("output_alone") if "layers" not in name} == both
    assert {name for name in tables("sides_differ") if "layers" not in name} == both | {"heads.it.output.kernel"}


def test_names_are_those_of_checkpoints() -> None:
    names = {canonical(weight) for weight in body("t5").weights}
    assert {"encoder.relative.embedding", "decoder.relative.embedding", "encoder.norm.scale", "decoder.norm.scale"} <= names
    assert {"decoder.layers.1.cross_attention.key.kernel", "decoder.layers.0.cross_attention_norm.scale"} <= names
    assert not any(name.startswith("encoder") and "cross" in name for name in names)
    bart = {canonical(weight) for weight in body("bart").weights}
    assert {f"{side}.embeddings.{part}" for side in ("encoder", "decoder") for part in ("position.embedding", "norm.bias")} <= bart
    meant = [name for name in bart if matches("layers.1", name)]
    assert {name.split(".")[0] for name in meant} == {"encoder", "decoder"}
    assert all(name.startswith("decoder.") for name in bart if matches("decoder", name))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_gradient_reaches_every_weight(member: str) -> None:
    built, data = model(member), batch()
    _, _, gradients = value_and_grad(lambda: (ops.sum(built(data, row_key=data["row_key"])["it"]["loss"]), ()), built.trainable_weights)
    missing = [canonical(w) for w, g in zip(built.trainable_weights, gradients, strict=True) if not np.any(np.asarray(g))]
    assert [name for name in missing if not name.endswith("attention.key.bias")] == []


@pytest.mark.parametrize("member", MEMBERS)
def test_a_model_from_its_config_with_the_same_weights_is_the_same_model(member: str) -> None:
    built, data = model(member), batch()
    again = Model.from_config(built.get_config())
    assert again.get_config() == built.get_config()
    saved = {canonical(weight): np.asarray(weight) for weight in built.weights}
    assert [canonical(weight) for weight in again.weights] == list(saved)
    for weight in again.weights:
        weight.assign(saved[canonical(weight)])
    for key in (None, data["row_key"]):
        np.testing.assert_array_equal(
            np.asarray(again(data, row_key=key)["it"]["loss"]), np.asarray(built(data, row_key=key)["it"]["loss"])
        )


@pytest.mark.parametrize("member", MEMBERS)
def test_symbolic_shapes_are_the_real_ones(member: str) -> None:
    built, data = model(member), batch()
    symbols = {name: keras.KerasTensor(value.shape, dtype=value.dtype.name) for name, value in data.items()}
    real, symbolic = built(data)["it"], built(symbols)["it"]
    assert {name: tuple(value.shape) for name, value in symbolic.items()} == {name: tuple(value.shape) for name, value in real.items()}


@pytest.mark.parametrize("member", MEMBERS)
def test_decoding_token_by_token_gives_the_hidden_states_of_one_pass(member: str) -> None:
    built, data = body(member), batch()
    data["decoder/segments"][:] = 1
    expected = hidden_of(built, data)
    memory = built.remember(built.encode(data["tokens"], segments=data["segments"]))
    cache, slots = built.decoder.empty_cache(ROWS, 8), np.arange(8)
    step = compiled(
        lambda tokens, cache, memory, at, filled: built.decode(
            tokens, memory=memory, memory_segments=data["segments"], cache=cache, cache_index=at, cache_segments=filled
        )
    )
    for at in range(TARGET):
        filled = np.tile((slots <= at).astype(np.int32), (ROWS, 1))
        hidden, cache = step(data["decoder/tokens"][:, at : at + 1], cache, memory, np.int32(at), filled)
        np.testing.assert_allclose(np.asarray(hidden)[:, 0], expected[:, at], atol=2e-5)
    assert step.compilations == 1


@pytest.mark.parametrize("member", MEMBERS)
def test_a_row_depends_on_nothing_but_its_own_tokens(member: str) -> None:
    built, data = body(member), batch()
    expected = hidden_of(built, data)[1]
    alone = hidden_of(built, {name: value[1:2] for name, value in data.items()})
    np.testing.assert_allclose(alone[0], expected, atol=1e-5)
    longer = {name: np.pad(value, [(0, 0), (0, 2)]) if value.ndim == 2 else value for name, value in data.items()}
    np.testing.assert_allclose(hidden_of(built, longer)[1, :TARGET], expected, atol=1e-5)
    other = {name: value.copy() for name, value in data.items()}
    other["tokens"][1, 4:] += 1  # padding
    np.testing.assert_allclose(hidden_of(built, {**other, "tokens": other["tokens"] % VOCAB})[1], expected, atol=1e-6)


@pytest.mark.parametrize("member", MEMBERS)
def test_texts_that_share_a_row_are_what_each_is_alone(member: str) -> None:
    built, texts = body(member), batch(rows=2)["tokens"]
    built.start_id = 2
    alone = np.asarray(built(texts, segments=np.ones_like(texts), positions=np.arange(SOURCE)[None] + 0 * texts))
    cells = np.arange(2 * SOURCE + 1)[None]
    row = {"segments": np.minimum(cells // SOURCE + 1, 3) % 3, "positions": cells % SOURCE}  # the last cell is padding
    together = np.asarray(built(np.append(texts, 0)[None], **row))[0]
    np.testing.assert_allclose(together[:-1].reshape(alone.shape), alone, atol=1e-5)


def test_a_decoder_sees_all_of_its_own_segment_and_none_of_another() -> None:
    built, data = body("t5"), batch(rows=1)
    data["segments"][0], data["decoder/segments"][0] = [1, 1, 1, 2, 2, 2, 2], [1, 1, 2, 2, 2]
    before = hidden_of(built, data)[0]
    data["tokens"][0, 6] = (data["tokens"][0, 6] + 1) % VOCAB
    changed = np.abs(hidden_of(built, data)[0] - before).max(axis=-1) > 1e-6
    assert changed.tolist() == [False, False, True, True, True]


def test_a_token_s_state_depends_on_no_later_token() -> None:
    built, data = body("bart"), batch(rows=1)
    before = hidden_of(built, data)[0]
    data["decoder/tokens"][0, 3] = (data["decoder/tokens"][0, 3] + 1) % VOCAB
    changed = np.abs(hidden_of(built, data)[0] - before).max(axis=-1) > 1e-6
    assert changed.tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("member", ["t5", "sides_differ"])
@pytest.mark.parametrize("compile_it", [False, True])
def test_rematerializing_blocks_changes_no_loss_and_no_gradient(member: str, compile_it: bool) -> None:
    built, data = model(member), batch()
    run = lambda d: value_and_grad(lambda: (ops.sum(built(d, row_key=d["row_key"])["it"]["loss"]), ()), built.trainable_weights)[::2]  # noqa: E731
    loss, gradients = (compiled(run) if compile_it else run)(data)
    built.backbone.encoder.rematerialize = built.backbone.decoder.rematerialize = True
    again, regradients = (compiled(run) if compile_it else run)(data)
    np.testing.assert_allclose(np.asarray(again), np.asarray(loss), rtol=1e-6)
    for weight, a, b in zip(built.trainable_weights, gradients, regradients, strict=True):
        np.testing.assert_allclose(np.asarray(b), np.asarray(a), atol=1e-5, err_msg=canonical(weight))


def test_what_is_collected_has_the_names_of_both_sides() -> None:
    heard: dict[str, Any] = {}
    hidden_of(body("t5"), batch(), collect=heard.__setitem__)
    layers = {f"layers.{i}{part}" for i in range(2) for part in ("", ".attention.weights")}
    across = {f"decoder.layers.{i}.cross_attention.weights" for i in range(2)}
    sides = {f"{side}.{part}" for side in ("encoder", "decoder") for part in {"embeddings", *layers}}
    assert set(heard) == sides | across | {"encoder.states"}
    weights = np.asarray(heard["decoder.layers.0.cross_attention.weights"])
    assert weights.shape == (ROWS, 4, TARGET, SOURCE)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert np.all(weights[1, :, :, 4:] == 0)


def test_a_classifier_reads_the_decoder_at_the_last_end_of_its_text() -> None:
    task = Classification(pooling="eos", end_id=VOCAB - 1, pooler="tanh", pooler_bias=False, classifier_bias=False)
    built, data = model("bart", task), batch(target=SOURCE)
    data |= {"it/labels": np.array([0, 1, 2], np.int32), "it/weights": np.ones(3, np.float32)}
    data["tokens"][:, 3] = VOCAB - 1
    data["decoder/tokens"] = np.concatenate([np.full((ROWS, 1), 2, np.int32), data["tokens"][:, :-1]], axis=1)
    data["decoder/segments"] = data["segments"]
    hidden = hidden_of(built.backbone, data)
    head = built.heads["it"]
    expected = np.tanh(hidden[:, 3] @ np.asarray(head.dense.kernel_weight)) @ np.asarray(head.classifier.kernel_weight)
    shares = np.exp(expected) / np.exp(expected).sum(-1, keepdims=True)
    for given in (data, {name: value for name, value in data.items() if not name.startswith("decoder/")}):
        np.testing.assert_allclose(np.asarray(built(given)["it"]["probabilities"]), shares, atol=1e-5)


def test_arithmetic_adds_both_sides_and_the_look_across() -> None:
    spec = EncoderDecoder(num_layers=3, hidden_size=64, num_heads=4)
    flops = flops_per_token(spec, length=32)["forward"]
    kernels = 3 * (2 * (4 * 64**2 + 2 * 64 * 256) + 4 * 64**2)
    assert flops == pytest.approx(2 * kernels + 4 * 64 * 3 * (32 + 33 / 2 + 32))


def test_arithmetic_of_rows_of_two_lengths_is_the_mean_over_their_tokens() -> None:
    spec = EncoderDecoder(num_layers=3, hidden_size=64, num_heads=4)
    once, block = flops_per_token(spec, length=32)["forward"], 4 * 64**2 + 2 * 64 * 256
    assert flops_per_token(spec, length=32, target_length=32)["forward"] == pytest.approx(once / 2)
    read = 32 * 3 * (2 * block + 4 * 64 * 32 + 2 * 2 * 64**2)
    wrote = 8 * 3 * (2 * block + 4 * 64 * (9 / 2 + 32) + 2 * 2 * 64**2)
    assert flops_per_token(spec, length=32, target_length=8)["forward"] == pytest.approx((read + wrote) / 40)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("member", ["t5", "sides_differ"])
def test_graph_and_xla_give_the_eager_loss(member: str, xla: bool) -> None:
    built, data = model(member), batch()
    run = compiled(lambda data: built(data, row_key=data["row_key"])["it"]["loss"], xla=xla)
    np.testing.assert_allclose(np.asarray(run(data)), np.asarray(built(data, row_key=data["row_key"])["it"]["loss"]), rtol=1e-5)


@pytest.mark.parametrize("member", MEMBERS)
def test_mixed_bfloat16_runs_near_float32_with_float32_weights_and_losses(member: str) -> None:
    data, exact = batch(), model(member)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = model(member)
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed.hidden(data).dtype.name == "bfloat16"
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    out = mixed(data)["it"]
    assert {out[name].dtype.name for name in ("loss", "weight", "correct")} == {"float32"}
    np.testing.assert_allclose(np.asarray(out["loss"]), np.asarray(exact(data)["it"]["loss"]), rtol=0.05)


def test_both_sides_uneven_use_of_experts_costs_in_training_alone() -> None:
    words = {
        "num_layers": 1,
        "hidden_size": 16,
        "num_heads": 4,
        "feed_forward": {"kind": "mixture", "num_experts": 3, "experts_per_token": 1},
    }
    spec = EncoderDecoder.model_validate(words)
    built = build_backbone(spec, vocab_size=VOCAB, max_length=12)
    whole = filled(Model(built, {"it": build_head(Seq2seq(), "it", backbone=built, model_spec=spec)}))
    data = batch()
    assert "balance" not in whole(data)["it"]
    heard: dict[str, Any] = {}
    hidden_of(built, data, row_key=data["row_key"], collect=heard.__setitem__)
    expected = np.asarray(heard["balance"]) * data["it/weights"].sum(axis=1)
    np.testing.assert_allclose(np.asarray(whole(data, row_key=data["row_key"])["it"]["balance"]), expected, rtol=1e-6)
    assert np.all(expected > 0)
