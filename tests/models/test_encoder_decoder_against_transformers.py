"""The same weights give the same logits, loss and gradient as the encoder-decoders of the reference, and the same step by step."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import ops

from lmkit.engine.tensorflow import value_and_grad
from lmkit.heads.model import Model
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.spec import EncoderDecoder
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import Seq2seq

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB, SOURCE, TARGET = 40, 9, 6
RANDOM = np.random.default_rng(0)
TOKENS = RANDOM.integers(5, VOCAB, (2, SOURCE)).astype(np.int32)
WRITTEN = RANDOM.integers(5, VOCAB, (2, TARGET)).astype(np.int32)
LABELS = np.where(np.arange(TARGET) < np.array([[TARGET], [4]]), RANDOM.integers(5, VOCAB, (2, TARGET)), -100)
SEGMENTS = (np.arange(SOURCE) < np.array([[SOURCE], [6]])).astype(np.int32)

T5 = {"d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4}
T5 |= {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 6, "decoder_start_token_id": 0}
T5_WORDS = {
    "num_layers": 2,
    "decoder": {"num_layers": 3},
    "hidden_size": 16,
    "num_heads": 4,
    "head_dim": 6,
    "position": {"kind": "relative", "num_buckets": 8, "max_distance": 6},
    "norm": "rms_norm",
    "attention": {"scale": 1.0},
}
BART = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4, "decoder_attention_heads": 2}
BART |= {"encoder_ffn_dim": 24, "decoder_ffn_dim": 20, "max_position_embeddings": 12, "decoder_start_token_id": 2, "pad_token_id": 1}
BART_WORDS = {
    "hidden_size": 16,
    "num_heads": 4,
    "encoder": {"num_layers": 2, "feed_forward": {"kind": "dense", "intermediate_size": 24}},
    "decoder": {"num_layers": 3, "num_heads": 2, "feed_forward": {"kind": "dense", "intermediate_size": 20}},
    "position": {"kind": "learned", "max_length": 12, "offset": 2},
    "norm": {"kind": "layer_norm", "placement": "post"},
    "output": {"bias": True},
}


def bart(activation: str, **changes: Any) -> dict[str, Any]:
    sides = {
        side: {**BART_WORDS[side], "feed_forward": BART_WORDS[side]["feed_forward"] | {"activation": activation}}
        for side in ("encoder", "decoder")
    }
    return BART_WORDS | sides | changes


FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "t5": (
        "T5",
        T5,
        T5_WORDS | {"feed_forward": {"kind": "dense", "intermediate_size": 24, "activation": "relu"}, "output": {"scale": 0.25}},
    ),
    "t5_gated_untied": (
        "T5",
        T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        T5_WORDS | {"feed_forward": {"kind": "gated", "intermediate_size": 24, "activation": "gelu_tanh"}, "tie_embeddings": "inputs"},
    ),
    "bart": ("Bart", BART, bart("gelu")),
    "bart_scaled": ("Bart", BART | {"scale_embedding": True, "activation_function": "relu"}, bart("relu", embedding_scale="sqrt_hidden")),
    "mbart": ("MBart", BART, bart("gelu", norm={"kind": "layer_norm", "placement": "pre"}, embedding_norm=True)),
    "pegasus": (
        "Pegasus",
        BART | {"scale_embedding": True, "activation_function": "relu"},
        bart(
            "relu",
            norm={"kind": "layer_norm", "placement": "pre"},
            position={"kind": "sinusoidal", "layout": "half"},
            embedding_scale="sqrt_hidden",
        ),
    ),
    "marian": (
        "Marian",
        BART | {"scale_embedding": True, "activation_function": "swish"},
        bart("silu", position={"kind": "sinusoidal", "layout": "half"}, embedding_norm=False, embedding_scale="sqrt_hidden"),
    ),
}
CLASSES = {"Marian": "MarianMTModel"}

PARTS = "(q_proj|k_proj|v_proj|out_proj)"

# Their modules by ours; `{side}` and `{i}` stand for themselves.
NAMES = {
    "T5": {
        "embeddings.token": "shared",
        "{side}.relative": "{side}.block.0.layer.0.SelfAttention.relative_attention_bias",
        "{side}.norm": "{side}.final_layer_norm",
        "{side}.layers.{i}.attention.(query|key|value|output)": "{side}.block.{i}.layer.0.SelfAttention.(q|k|v|o)",
        "{side}.layers.{i}.attention_norm": "{side}.block.{i}.layer.0.layer_norm",
        "{side}.layers.{i}.cross_attention.(query|key|value|output)": "{side}.block.{i}.layer.1.EncDecAttention.(q|k|v|o)",
        "{side}.layers.{i}.cross_attention_norm": "{side}.block.{i}.layer.1.layer_norm",
        "{side}.layers.{i}.feed_forward.(up|gate|down)": "{side}.block.{i}.layer.{last}.DenseReluDense.({up}|wi_0|wo)",
        "{side}.layers.{i}.feed_forward_norm": "{side}.block.{i}.layer.{last}.layer_norm",
        "heads.answer.output": "lm_head",
    },
    "Bart": {
        "embeddings.token": "model.shared",
        "{side}.embeddings.position": "model.{side}.embed_positions",
        "{side}.embeddings.norm": "model.{side}.layernorm_embedding",
        "{side}.norm": "model.{side}.layer_norm",
        "{side}.layers.{i}.attention.(query|key|value|output)": "model.{side}.layers.{i}.self_attn." + PARTS,
        "{side}.layers.{i}.attention_norm": "model.{side}.layers.{i}.self_attn_layer_norm",
        "{side}.layers.{i}.cross_attention.(query|key|value|output)": "model.decoder.layers.{i}.encoder_attn." + PARTS,
        "{side}.layers.{i}.cross_attention_norm": "model.{side}.layers.{i}.encoder_attn_layer_norm",
        "{side}.layers.{i}.feed_forward.(up|down)": "model.{side}.layers.{i}.(fc1|fc2)",
        "{side}.layers.{i}.feed_forward_norm": "model.{side}.layers.{i}.final_layer_norm",
    },
}


def source_of(module: str, names: dict[str, str], gated: bool) -> str:
    for ours, theirs in names.items():
        pattern = re.escape(ours).replace(r"\{side\}", "(?P<side>encoder|decoder)").replace(r"\{i\}", r"(?P<i>\d+)")
        found = re.fullmatch(re.sub(r"\\\((.+)\\\)", lambda m: f"(?P<part>{m.group(1).replace(chr(92), '')})", pattern), module)
        if found:
            groups = found.groupdict()
            theirs = theirs.replace("{side}", groups.get("side") or "").replace("{i}", groups.get("i") or "")
            theirs = theirs.replace("{last}", "2" if groups.get("side") == "decoder" else "1").replace("{up}", "wi_1" if gated else "wi")
            options = re.search(r"\((.+)\)$", theirs)
            if options:
                place = re.search(r"\((.+)\)$", ours).group(1).split("|").index(groups["part"])  # type: ignore[union-attr]
                theirs = theirs[: options.start()] + options.group(1).split("|")[place]
            return theirs
    raise KeyError(module)


def value_of(name: str, family: str, gated: bool, get: Callable[[str], np.ndarray]) -> np.ndarray:
    module, _, kind = name.rpartition(".")
    if name == "heads.answer.bias":
        return get("final_logits_bias")[0]
    source = source_of(module, NAMES["T5" if family == "T5" else "Bart"], gated)
    value = get(f"{source}.{'bias' if kind == 'bias' else 'weight'}")
    return value.T if kind == "kernel" else value


class Pair:
    """One family's reference with random weights, and ours with the same."""

    def __init__(self, name: str) -> None:
        family, sizes, words = FAMILIES[name]
        torch.manual_seed(0)
        config = getattr(transformers, f"{family}Config")(vocab_size=VOCAB, **sizes)
        self.theirs = getattr(transformers, CLASSES.get(family, f"{family}ForConditionalGeneration"))(config).eval()
        with torch.no_grad():
            for parameter in self.theirs.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
            if "final_logits_bias" in self.theirs.state_dict():
                self.theirs.final_logits_bias.add_(torch.randn(1, VOCAB) * 0.1)
        state = self.theirs.state_dict()
        spec = EncoderDecoder.model_validate(words)
        assert list(spec.problems()) == []
        self.body = build_backbone(spec, vocab_size=VOCAB, max_length=12)
        self.model = Model(self.body, {"answer": build_head(Seq2seq(), "answer", backbone=self.body, model_spec=spec)})
        for weight in self.model.weights:
            weight.assign(value_of(canonical(weight), family, "gated" in name, lambda key: state[key].numpy()))

    def logits(self, hidden: Any) -> np.ndarray:
        return np.asarray(self.model.heads["answer"].logits(hidden, self.body.token_embedding))

    def reference(self, **more: Any) -> Any:
        inputs = {"input_ids": TOKENS, "attention_mask": SEGMENTS, "decoder_input_ids": WRITTEN} | more
        return self.theirs(**{name: torch.tensor(value, dtype=torch.long) for name, value in inputs.items()})


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


def test_logits_and_states_are_those_of_the_reference(pair: Pair) -> None:
    expected, real = pair.reference(), SEGMENTS == 1
    states = np.asarray(pair.body.encode(TOKENS, segments=SEGMENTS))
    np.testing.assert_allclose(states[real], expected.encoder_last_hidden_state.detach().numpy()[real], atol=2e-5)
    logits = pair.logits(pair.body(TOKENS, segments=SEGMENTS, decoder_tokens=WRITTEN))
    np.testing.assert_allclose(logits, expected.logits.detach().numpy(), atol=5e-5)


def test_loss_and_gradient_norm_are_those_of_the_reference(pair: Pair) -> None:
    expected = pair.reference(labels=LABELS)
    expected.loss.backward()
    theirs = np.sqrt(sum(float(p.grad.double().pow(2).sum()) for p in pair.theirs.parameters() if p.grad is not None))
    pair.theirs.zero_grad()
    batch = {"tokens": TOKENS, "segments": SEGMENTS, "decoder/tokens": WRITTEN, "decoder/segments": np.ones_like(WRITTEN)}
    batch |= {"answer/labels": np.maximum(LABELS, 0).astype(np.int32), "answer/weights": (LABELS >= 0).astype(np.float32)}
    trained = [weight for weight in pair.model.weights if canonical(weight) != "heads.answer.bias"]  # a buffer there
    count = int((LABELS >= 0).sum())
    loss, _, gradients = value_and_grad(lambda: (ops.sum(pair.model(batch)["answer"]["loss"]) / count, ()), trained)
    np.testing.assert_allclose(float(loss), expected.loss.item(), rtol=1e-5)
    ours = np.sqrt(sum(np.square(np.asarray(gradient, np.float64)).sum() for gradient in gradients))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_what_is_decoded_greedily_with_a_memory_and_a_cache_is_what_the_reference_generates(pair: Pair) -> None:
    start = pair.theirs.config.decoder_start_token_id
    ids = {name: torch.tensor(value, dtype=torch.long) for name, value in {"input_ids": TOKENS, "attention_mask": SEGMENTS}.items()}
    greedy = {
        "max_new_tokens": TARGET,
        "min_new_tokens": TARGET,
        "do_sample": False,
        "num_beams": 1,
        "eos_token_id": None,
        "use_cache": False,
    }
    expected = pair.theirs.generate(**ids, **greedy, forced_eos_token_id=None).numpy()
    memory = pair.body.remember(pair.body.encode(TOKENS, segments=SEGMENTS))
    cache, written = pair.body.decoder.empty_cache(2, TARGET), [np.full((2, 1), start, np.int32)]
    for at in range(TARGET):
        filled = np.tile((np.arange(TARGET) <= at).astype(np.int32), (2, 1))
        keywords = {"cache": cache, "cache_index": at, "cache_segments": filled}
        hidden, cache = pair.body.decode(written[-1], memory=memory, memory_segments=SEGMENTS, **keywords)
        written.append(pair.logits(hidden)[:, -1:].argmax(-1).astype(np.int32))
    np.testing.assert_array_equal(np.concatenate(written, axis=1), expected)
