"""The contract of every room, run over every member of its union: a model made of it behaves as models must."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from lmkit.attention.spec import Attention, Biases
from lmkit.blocks.spec import Convolution, Dense, Gated, LayerNorm, Mixture, RmsNorm
from lmkit.engine.tensorflow import compiled, value_and_grad
from lmkit.heads.model import Model
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.count import count
from lmkit.models.initialize import initialize
from lmkit.models.spec import Decoder, Encoder
from lmkit.positions.spec import (
    Alibi,
    DefaultRotation,
    Disentangled,
    DynamicScaling,
    Learned,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    NoPosition,
    Relative,
    Rotary,
    Sinusoidal,
    YarnScaling,
)
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import AnyTask, CausalLm, Classification, MaskedLm, NextSentence

ROWS, LENGTH, VOCAB = 3, 8, 20
MEMBERS: dict[str, dict[str, Any]] = {
    "none": {"position": (NoPosition(),)},
    "learned": {"position": (Learned(),)},
    "sinusoidal": {"position": (Sinusoidal(),)},
    "rotary": {"position": (Rotary(),)},
    "rotary_interleaved": {"position": (Rotary(layout="interleaved", fraction=0.5),)},
    "alibi": {"position": (Alibi(),)},
    "learned_rotary_alibi": {"position": (Learned(), Rotary(), Alibi())},
    "post": {"norm": LayerNorm(placement="post")},
    "rms": {"norm": RmsNorm(), "feed_forward": Gated()},
    "rms_post": {"norm": RmsNorm(placement="post")},
    "gated_bias": {"feed_forward": Gated(activation="gelu"), "bias": True},
    "relu_squared": {"feed_forward": Dense(activation="relu_squared")},
    "grouped_windows": {"num_kv_heads": 2, "head_dim": 6, "attention": Attention(window=(3, "full"))},
    "untied_types": {"tie_embeddings": False, "token_types": 2},
    "learned_offset": {"position": (Learned(offset=2, ids="non_padding", padding_id=1),)},
    "sinusoidal_half": {"position": (Sinusoidal(layout="half"),), "embedding_scale": "sqrt_hidden"},
    "relative": {"position": (Learned(), Relative(num_buckets=8, max_distance=6))},
    "rotary_pattern": {"position": (Rotary(),), "attention": Attention(rotary=(DefaultRotation(), NoPosition()))},
    "rotary_bases": {"position": (NoPosition(),), "attention": Attention(rotary=(Rotary(base=100.0), Rotary(fraction=0.5)))},
    "linear": {"position": (Rotary(scaling=LinearScaling(factor=2.0)),)},
    "dynamic": {"position": (Rotary(scaling=DynamicScaling(factor=2.0, original_max_length=30)),)},
    "llama3": {"position": (Rotary(scaling=Llama3Scaling(factor=2.0, original_max_length=6)),)},
    "yarn": {"position": (Rotary(scaling=YarnScaling(factor=2.0, original_max_length=6)),)},
    "longrope": {"position": (Rotary(scaling=LongRopeScaling(short_factor=(1.0, 2.0), long_factor=(2.0, 3.0), original_max_length=30)),)},
    "biases_apart": {"attention": Attention(bias=Biases(query=True, key=False, value=True, output=False)), "bias": False},
    "scores": {"attention": Attention(scale=0.7, scale_by_layer=True, softcap=2.0)},
    "qk_norm_head": {"norm": RmsNorm(unit_offset=True), "num_kv_heads": 2, "attention": Attention(qk_norm="head")},
    "qk_norm_full": {"norm": LayerNorm(bias=False), "num_kv_heads": 2, "attention": Attention(qk_norm="full")},
    "sandwich": {"norm": RmsNorm(placement="sandwich", unit_offset=True)},
    "branch_post": {"norm": LayerNorm(placement="branch_post")},
    "no_first_norm": {"norm": LayerNorm(first=False, bias=False), "embedding_norm": True},
    "parallel": {"parallel": "own_norms"},
    "parallel_shared": {"parallel": "shared_norm", "final_norm": False},
    "residual_norm": {"residual": "norm", "embedding_norm": True},
    "residual_scale": {"residual_scale": 0.3, "embedding_scale": 3.0},
    "narrow_embeddings": {"embedding_size": 6, "norm": LayerNorm(placement="post"), "token_types": 2},
    "projected_tokens": {"embedding_size": 6, "token_types": 2},
    "equal_embeddings": {"embedding_size": 16, "norm": LayerNorm(placement="post"), "token_types": 2},
    "equal_tokens": {"embedding_size": 16, "token_types": 2},
    "mixture": {"feed_forward": (Dense(bias=False), Mixture(num_experts=3, experts_per_token=2, intermediate_size=12))},
    "dense_experts": {"feed_forward": Mixture(num_experts=4, experts_per_token=2, gated=False, renormalize=False)},
    "disentangled": {"position": (Disentangled(max_distance=9, buckets=4),), "num_kv_heads": 2},
    "distances_apart": {"position": (Disentangled(max_distance=6, share_key=False, norm=False),), "norm": LayerNorm(placement="post")},
    "convolution": {"convolution": Convolution(kernel_size=3), "norm": LayerNorm(placement="post")},
    "shared_layers": {"num_layers": 4, "layer_groups": 1, "blocks_per_group": 2},
}
DECODERS = [member for member in MEMBERS if member != "convolution"]
TASKS: dict[str, AnyTask] = {"lm": CausalLm(), "mlm": MaskedLm(), "nsp": NextSentence(), "stars": Classification(pooling="mean")}


def words(member: str, cls: type = Encoder) -> Any:
    return cls(**{"num_layers": 2, "hidden_size": 16, "num_heads": 4, "dropout": 0.1} | MEMBERS[member])


def model(member: str, tasks: tuple[str, ...] = ("mlm", "nsp"), cls: type = Encoder) -> Model:
    spec = words(member, cls)
    backbone = build_backbone(spec, vocab_size=VOCAB, max_length=LENGTH)
    heads = {name: build_head(TASKS[name], name, backbone=backbone, model_spec=spec, num_labels=3) for name in tasks}
    built = Model(backbone, heads)
    initialize(built, 3)
    return built


def batch(tasks: tuple[str, ...] = ("mlm", "nsp")) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {
        "tokens": random.permutation(np.arange(ROWS * LENGTH) % VOCAB).reshape(ROWS, LENGTH).astype(np.int32),
        "segments": (np.arange(LENGTH) < np.array([[8], [6], [5]])).astype(np.int32),
        "positions": np.tile(np.arange(LENGTH, dtype=np.int32), (ROWS, 1)),
        "token_types": np.tile(np.arange(LENGTH, dtype=np.int32) // 4, (ROWS, 1)),
        "row_key": np.arange(ROWS, dtype=np.uint32) + 9,
    }
    for name in tasks:
        shape = {"lm": (ROWS, LENGTH), "mlm": (ROWS, 2)}.get(name, (ROWS,))
        made |= {f"{name}/labels": np.ones(shape, np.int32), f"{name}/weights": np.ones(shape, np.float32)}
    return made | ({"mlm/where": np.array([[1, 4], [0, 5], [2, 3]], np.int32)} if "mlm" in tasks else {})


def total(built: Model, data: dict[str, Any], row_key: Any = None) -> Any:
    return ops.sum(ops.stack([ops.sum(out["loss"]) for out in built(data, row_key=row_key).values()]))


@pytest.mark.parametrize("member", MEMBERS)
def test_symbolic_shapes_are_the_real_ones(member: str) -> None:
    built, data = model(member), batch()
    symbols = {name: keras.KerasTensor(value.shape, dtype=value.dtype.name) for name, value in data.items()}
    real, symbolic = built(data), built(symbols)
    for task, out in real.items():
        for name, value in out.items():
            assert tuple(symbolic[task][name].shape) == tuple(value.shape)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_gradient_reaches_every_weight(member: str) -> None:
    built, data = model(member), batch()
    _, _, gradients = value_and_grad(lambda: (total(built, data, data["row_key"]), ()), built.trainable_weights)
    missing = [canonical(w) for w, g in zip(built.trainable_weights, gradients, strict=True) if not np.any(np.asarray(g))]
    zero = [name for name in missing if not name.endswith("attention.key.bias")]  # softmax ignores what all keys share
    assert zero == []


@pytest.mark.parametrize("member", MEMBERS)
def test_a_model_from_its_config_with_the_same_weights_is_the_same_model(member: str) -> None:
    built, data = model(member), batch()
    again = Model.from_config(built.get_config())
    assert again.get_config() == built.get_config()
    saved = {canonical(weight): np.asarray(weight) for weight in built.weights}
    assert [canonical(weight) for weight in again.weights] == list(saved)
    for weight in again.weights:
        weight.assign(saved[canonical(weight)])
    np.testing.assert_array_equal(np.asarray(total(again, data, data["row_key"])), np.asarray(total(built, data, data["row_key"])))


@pytest.mark.parametrize(("cls", "member"), [*((Encoder, member) for member in MEMBERS), *((Decoder, member) for member in DECODERS)])
def test_words_are_allowed_and_predict_every_part_of_what_is_built(member: str, cls: type) -> None:
    spec = words(member, cls)
    assert [problem for branch in (spec, spec.norm, *spec.position, *spec.feed_forward) for problem in branch.problems()] == []
    parts = count(spec, vocab_size=VOCAB, max_length=LENGTH)
    built = dict.fromkeys(parts, 0)
    for weight in build_backbone(spec, vocab_size=VOCAB, max_length=LENGTH).weights:
        name = canonical(weight).removeprefix(f"{spec.kind}.")
        built[next(part for part in parts if name.startswith(part + "."))] += int(np.prod(weight.shape))
    assert built == parts


@pytest.mark.parametrize("member", DECODERS)
def test_decoding_with_a_cache_is_the_full_forward_pass(member: str) -> None:
    backbone, ids = model(member, ("lm",), Decoder).backbone, np.maximum(batch(("lm",))["tokens"], 2)  # 1 is padding to one of them
    for weight in backbone.weights:
        weight.assign(weight * (1 if "norm" in weight.path else 20))
    whole, cache, start, parts = np.asarray(backbone(ids)), backbone.empty_cache(ROWS, 10), 0, []
    for size in (3, 1, 2, 1, 1):
        part, cache = backbone(ids[:, start : start + size], cache=cache, cache_index=start)
        parts.append(np.asarray(part))
        start += size
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=5e-5)


@pytest.mark.parametrize("member", MEMBERS)
def test_one_seed_gives_one_model_and_names_are_unique(member: str) -> None:
    first, second = model(member), model(member)
    names = [canonical(weight) for weight in first.weights]
    assert len(set(names)) == len(names)
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    ("member", "tasks", "xla"),
    [
        ("grouped_windows", ("lm",), False),
        ("learned_rotary_alibi", ("stars",), False),
        ("rms", ("mlm", "nsp"), False),
        ("grouped_windows", ("lm",), True),
        ("rms", ("mlm", "nsp"), True),
        ("convolution", ("stars",), True),
        *[(member, ("lm",), True) for member in ("relative", "disentangled", "mixture", "dynamic", "longrope", "scores", "alibi")],
    ],
)
def test_graph_and_xla_give_the_eager_loss(member: str, tasks: tuple[str, ...], xla: bool) -> None:
    built, data = model(member, tasks), batch(tasks)
    run = compiled(lambda data: total(built, data, data["row_key"]), xla=xla)
    np.testing.assert_allclose(np.asarray(run(data)), np.asarray(total(built, data, data["row_key"])), rtol=1e-5)


@pytest.mark.parametrize(("policy", "weights"), [("mixed_bfloat16", "float32"), ("bfloat16", "bfloat16")])
@pytest.mark.parametrize("member", MEMBERS)
def test_bfloat16_runs_near_float32_with_float32_losses_and_weights_as_held(member: str, policy: str, weights: str) -> None:
    data, exact = batch(), model(member)
    keras.config.set_dtype_policy(policy)
    try:
        mixed = model(member)
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed.hidden(data).dtype.name == "bfloat16"
    assert {weight.dtype for weight in mixed.weights} == {weights}
    for task, out in mixed(data).items():
        assert {out[name].dtype.name for name in ("loss", "weight", "correct")} == {"float32"}
        np.testing.assert_allclose(np.asarray(out["loss"]), np.asarray(exact(data)[task]["loss"]), rtol=0.05)


@pytest.mark.parametrize("compile_it", [False, True])
@pytest.mark.parametrize("member", ["grouped_windows", "relative", "distances_apart", "mixture", "shared_layers"])
def test_rematerializing_blocks_changes_no_loss_and_no_gradient(member: str, compile_it: bool) -> None:
    built, data = model(member, ("lm",), Decoder), batch(("lm",))
    run = lambda d: value_and_grad(lambda: (total(built, d, d["row_key"]), ()), built.trainable_weights)[::2]  # noqa: E731
    loss, gradients = (compiled(run) if compile_it else run)(data)
    built.backbone.rematerialize = True
    again, regradients = (compiled(run) if compile_it else run)(data)
    np.testing.assert_allclose(np.asarray(again), np.asarray(loss), rtol=1e-6)
    for a, b in zip(gradients, regradients, strict=True):
        np.testing.assert_allclose(np.asarray(b), np.asarray(a), atol=1e-5)


def test_kernels_of_a_bfloat16_graph_have_the_gradient_of_float32() -> None:
    data, gradients = batch(("lm",)), []
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            built = model("rms", ("lm",), Decoder)
        finally:
            keras.config.set_dtype_policy("float32")
        run = compiled(lambda d, built=built: value_and_grad(lambda: (total(built, d, d["row_key"]), ()), built.trainable_weights)[2])
        gradients.append(np.concatenate([np.ravel(np.asarray(gradient)) for gradient in run(data)]))
    exact, mixed = gradients
    assert np.linalg.norm(mixed - exact) < 0.03 * np.linalg.norm(exact)
