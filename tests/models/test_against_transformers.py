"""The same weights give the same logits as the reference implementations of the architectures that our words name."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from lmkit.attention.spec import Attention
from lmkit.blocks.spec import Dense, Gated, LayerNorm, RmsNorm
from lmkit.heads.model import Model
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.spec import Decoder, Encoder
from lmkit.positions.spec import Alibi, Rotary
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import AnyTask, CausalLm, MaskedLm, NextSentence

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB, LENGTH = 40, 12
IDS = np.random.default_rng(0).integers(5, VOCAB, (2, LENGTH)).astype(np.int32)
Weights = dict[str, np.ndarray]


def ours(spec: Encoder | Decoder, tasks: dict[str, AnyTask], weights: Weights) -> Model:
    backbone = build_backbone(spec, vocab_size=VOCAB, max_length=16)
    model = Model(backbone, {name: build_head(task, name, backbone=backbone, model_spec=spec) for name, task in tasks.items()})
    assert {canonical(weight) for weight in model.weights} == weights.keys()
    for weight in model.weights:
        weight.assign(weights[canonical(weight)])
    return model


def theirs(cls: str, config: str, **sizes: Any) -> tuple[Any, Callable[[str], np.ndarray]]:
    torch.manual_seed(0)
    model = getattr(transformers, cls)(getattr(transformers, config)(vocab_size=VOCAB, **sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # so that biases and scales show
    state = model.state_dict()
    return model, lambda name: state[name].numpy()


def linear(name: str, kernel: np.ndarray, bias: np.ndarray | None = None) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{name}.kernel", kernel
    if bias is not None:
        yield f"{name}.bias", bias


def norm(name: str, get: Callable[[str], np.ndarray], source: str) -> Weights:
    return {f"{name}.scale": get(f"{source}.weight"), f"{name}.bias": get(f"{source}.bias")}


def test_a_decoder_with_learned_positions_is_gpt2() -> None:
    reference, get = theirs("GPT2LMHeadModel", "GPT2Config", n_embd=16, n_layer=2, n_head=2, n_positions=16)
    weights = {"embeddings.token.embedding": get("transformer.wte.weight"), "embeddings.position.embedding": get("transformer.wpe.weight")}
    weights |= norm("decoder.norm", get, "transformer.ln_f")
    for i in range(2):
        to, source = f"decoder.layers.{i}", f"transformer.h.{i}"
        weights |= norm(f"{to}.attention_norm", get, f"{source}.ln_1") | norm(f"{to}.feed_forward_norm", get, f"{source}.ln_2")
        kernels, biases = (np.split(get(f"{source}.attn.c_attn.{part}"), 3, axis=-1) for part in ("weight", "bias"))
        for name, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True):
            weights |= linear(f"{to}.attention.{name}", kernel, bias)
        for name, module in (("attention.output", "attn.c_proj"), ("feed_forward.up", "mlp.c_fc"), ("feed_forward.down", "mlp.c_proj")):
            weights |= linear(f"{to}.{name}", get(f"{source}.{module}.weight"), get(f"{source}.{module}.bias"))
    spec = Decoder(num_layers=2, hidden_size=16, num_heads=2, feed_forward=Dense(activation="gelu_tanh"))
    model = ours(spec, {"lm": CausalLm()}, weights)
    logits = model.heads["lm"].logits(model.backbone(IDS), model.backbone.token_embedding)
    expected = reference(torch.tensor(IDS, dtype=torch.long)).logits.detach().numpy()
    np.testing.assert_allclose(np.asarray(logits), expected, atol=1e-5)


def test_a_post_norm_encoder_with_two_tasks_is_bert() -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 16}
    reference, get = theirs("BertForPreTraining", "BertConfig", **sizes)
    tables = {"token": "word_embeddings", "position": "position_embeddings", "token_type": "token_type_embeddings"}
    weights = {f"embeddings.{to}.embedding": get(f"bert.embeddings.{source}.weight") for to, source in tables.items()}
    weights |= norm("embeddings.norm", get, "bert.embeddings.LayerNorm")
    modules = {f"attention.{name}": f"attention.self.{name}" for name in ("query", "key", "value")}
    modules |= {"attention.output": "attention.output.dense", "feed_forward.up": "intermediate.dense", "feed_forward.down": "output.dense"}
    dense = {f"encoder.layers.{i}.{to}": f"bert.encoder.layer.{i}.{source}" for i in range(2) for to, source in modules.items()}
    dense |= {"heads.nsp.pooler": "bert.pooler.dense", "heads.nsp.classifier": "cls.seq_relationship"}
    dense |= {"heads.mlm.transform": "cls.predictions.transform.dense"}
    for to, source in dense.items():
        weights |= linear(to, get(f"{source}.weight").T, get(f"{source}.bias"))
    for i in range(2):
        weights |= norm(f"encoder.layers.{i}.attention_norm", get, f"bert.encoder.layer.{i}.attention.output.LayerNorm")
        weights |= norm(f"encoder.layers.{i}.feed_forward_norm", get, f"bert.encoder.layer.{i}.output.LayerNorm")
    weights |= norm("heads.mlm.transform_norm", get, "cls.predictions.transform.LayerNorm")
    weights["heads.mlm.bias"] = get("cls.predictions.bias")
    spec = Encoder(
        num_layers=2,
        hidden_size=16,
        num_heads=2,
        norm=LayerNorm(placement="post", epsilon=1e-12),
        feed_forward=Dense(intermediate_size=24),
        token_types=2,
    )
    model = ours(spec, {"mlm": MaskedLm(), "nsp": NextSentence()}, weights)
    segments = (np.arange(LENGTH) < np.array([[12], [7]])).astype(np.int32)
    types = (np.arange(LENGTH) >= 4).astype(np.int32)[None] * segments
    hidden = model.backbone(IDS, segments=segments, token_types=types)
    expected = reference(*(torch.tensor(x, dtype=torch.long) for x in (IDS, segments, types)))
    logits = np.asarray(model.heads["mlm"].logits(hidden, model.backbone.token_embedding))
    np.testing.assert_allclose(logits[segments == 1], expected.prediction_logits.detach().numpy()[segments == 1], atol=1e-5)
    # BERT numbers "is the next sentence" 0; the order of the two classes is the data's business, the logits are the same.
    np.testing.assert_allclose(
        np.asarray(model.heads["nsp"].logits(hidden, segments)), expected.seq_relationship_logits.detach(), atol=1e-5
    )


@pytest.mark.parametrize("window", ["full", 4])
def test_a_gated_rotary_decoder_with_grouped_queries_is_llama_and_with_a_window_mistral(window: Any) -> None:
    family = "Llama" if window == "full" else "Mistral"
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24}
    extra = {"tie_word_embeddings": False, "rms_norm_eps": 1e-6, "attn_implementation": "eager"}
    extra |= {} if window == "full" else {"sliding_window": window}
    reference, get = theirs(f"{family}ForCausalLM", f"{family}Config", **sizes, **extra)
    weights = {"embeddings.token.embedding": get("model.embed_tokens.weight"), "decoder.norm.scale": get("model.norm.weight")}
    weights["heads.lm.output.kernel"] = get("lm_head.weight").T
    modules = {
        f"attention.{to}": f"self_attn.{source}_proj" for to, source in zip(("query", "key", "value", "output"), "qkvo", strict=True)
    }
    modules |= {f"feed_forward.{name}": f"mlp.{name}_proj" for name in ("gate", "up", "down")}
    for i in range(2):
        to, source = f"decoder.layers.{i}", f"model.layers.{i}"
        weights |= {f"{to}.{name}.kernel": get(f"{source}.{module}.weight").T for name, module in modules.items()}
        weights[f"{to}.attention_norm.scale"] = get(f"{source}.input_layernorm.weight")
        weights[f"{to}.feed_forward_norm.scale"] = get(f"{source}.post_attention_layernorm.weight")
    spec = Decoder(
        num_layers=2,
        hidden_size=16,
        num_heads=4,
        num_kv_heads=2,
        position=(Rotary(),),
        norm=RmsNorm(),
        feed_forward=Gated(intermediate_size=24),
        attention=Attention(window=(window,)),
        tie_embeddings=False,
    )
    model = ours(spec, {"lm": CausalLm()}, weights)
    logits = model.heads["lm"].logits(model.backbone(IDS), model.backbone.token_embedding)
    expected = reference(torch.tensor(IDS, dtype=torch.long)).logits.detach().numpy()
    np.testing.assert_allclose(np.asarray(logits), expected, atol=2e-5)


def test_a_decoder_with_alibi_and_an_embedding_norm_is_bloom() -> None:
    reference, get = theirs("BloomForCausalLM", "BloomConfig", hidden_size=18, n_layer=2, n_head=3)
    weights = {"embeddings.token.embedding": get("transformer.word_embeddings.weight")}
    weights |= norm("embeddings.norm", get, "transformer.word_embeddings_layernorm") | norm("decoder.norm", get, "transformer.ln_f")
    modules = {"attention.output": "self_attention.dense", "feed_forward.up": "mlp.dense_h_to_4h", "feed_forward.down": "mlp.dense_4h_to_h"}
    for i in range(2):
        to, source = f"decoder.layers.{i}", f"transformer.h.{i}"
        weights |= norm(f"{to}.attention_norm", get, f"{source}.input_layernorm")
        weights |= norm(f"{to}.feed_forward_norm", get, f"{source}.post_attention_layernorm")
        for name, module in modules.items():
            weights |= linear(f"{to}.{name}", get(f"{source}.{module}.weight").T, get(f"{source}.{module}.bias"))
        kernel, bias = (get(f"{source}.self_attention.query_key_value.{part}") for part in ("weight", "bias"))
        kernels, biases = kernel.reshape(3, 3, 6, 18), bias.reshape(3, 3, 6)  # head, (query, key, value), width, in
        for part, name in enumerate(("query", "key", "value")):
            weights |= linear(f"{to}.attention.{name}", kernels[:, part].reshape(18, 18).T, biases[:, part].reshape(18))
    dense = Dense(activation="gelu_tanh")
    spec = Decoder(num_layers=2, hidden_size=18, num_heads=3, position=(Alibi(),), embedding_norm=True, feed_forward=dense)
    model = ours(spec, {"lm": CausalLm()}, weights)
    logits = model.heads["lm"].logits(model.backbone(IDS), model.backbone.token_embedding)
    expected = reference(torch.tensor(IDS, dtype=torch.long)).logits.detach().numpy()
    np.testing.assert_allclose(np.asarray(logits), expected, atol=2e-5)
