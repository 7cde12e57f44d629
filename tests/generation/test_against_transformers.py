"""Greedy ids, every rule, and beams are those of transformers' generate on the same weights; so is what a draw may choose from."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from keras import ops

from lmkit.blocks.spec import Dense, Gated, RmsNorm
from lmkit.generation.build import build_generator
from lmkit.generation.cached import CachedDecoder
from lmkit.generation.sampling import truncate
from lmkit.generation.settings import Settings
from lmkit.heads.model import Model
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.spec import Decoder
from lmkit.positions.spec import Rotary
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import CausalLm

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB, CONTEXT, NEW = 40, 64, 24
PROMPTS = np.random.default_rng(0).integers(5, VOCAB, (3, 9))
LLAMA: dict[str, Any] = {
    "position": (Rotary(),),
    "num_kv_heads": 2,
    "norm": RmsNorm(),
    "feed_forward": (Gated(intermediate_size=24),),
    "tie_embeddings": False,
}


def theirs(cls: str, config: str, scale: float, **sizes: Any) -> Any:
    torch.manual_seed(0)
    made = getattr(transformers, config)(vocab_size=VOCAB, bos_token_id=None, eos_token_id=None, pad_token_id=None, **sizes)
    model = getattr(transformers, cls)(made).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:  # far from ties, and lively enough that texts end
                parameter.copy_(torch.randn_like(parameter) * scale)
    return model


def gpt2() -> tuple[Any, Decoder, dict[str, np.ndarray]]:
    reference = theirs("GPT2LMHeadModel", "GPT2Config", 0.35, n_embd=16, n_layer=1, n_head=2, n_positions=CONTEXT)
    state = {name.removeprefix("transformer."): value.numpy() for name, value in reference.state_dict().items()}
    weights = {"embeddings.token.embedding": state["wte.weight"], "embeddings.position.embedding": state["wpe.weight"]}
    norms = {"decoder.norm": "ln_f"}
    for i in range(1):
        to, source = f"decoder.layers.{i}", f"h.{i}"
        norms |= {f"{to}.attention_norm": f"{source}.ln_1", f"{to}.feed_forward_norm": f"{source}.ln_2"}
        parts = {"attention.output": "attn.c_proj", "feed_forward.up": "mlp.c_fc", "feed_forward.down": "mlp.c_proj"}
        for ours, named in (("kernel", "weight"), ("bias", "bias")):
            fused = np.split(state[f"{source}.attn.c_attn.{named}"], 3, axis=-1)
            weights |= {f"{to}.attention.{name}.{ours}": part for name, part in zip(("query", "key", "value"), fused, strict=True)}
            weights |= {f"{to}.{name}.{ours}": state[f"{source}.{module}.{named}"] for name, module in parts.items()}
    for to, source in norms.items():
        weights |= {f"{to}.scale": state[f"{source}.weight"], f"{to}.bias": state[f"{source}.bias"]}
    return reference, Decoder(num_layers=1, hidden_size=16, num_heads=2, feed_forward=(Dense(activation="gelu_tanh"),)), weights


def llama() -> tuple[Any, Decoder, dict[str, np.ndarray]]:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24}
    reference = theirs("LlamaForCausalLM", "LlamaConfig", 0.4, tie_word_embeddings=False, max_position_embeddings=CONTEXT, **sizes)
    state = {name.removeprefix("model."): value.numpy() for name, value in reference.state_dict().items()}
    weights = {"embeddings.token.embedding": state["embed_tokens.weight"], "decoder.norm.scale": state["norm.weight"]}
    weights["heads.lm.output.kernel"] = state["lm_head.weight"].T
    parts = {f"attention.{to}": f"self_attn.{letter}_proj" for to, letter in zip(("query", "key", "value", "output"), "qkvo", strict=True)}
    parts |= {f"feed_forward.{name}": f"mlp.{name}_proj" for name in ("gate", "up", "down")}
    for i in range(2):
        to, source = f"decoder.layers.{i}", f"layers.{i}"
        weights |= {f"{to}.{name}.kernel": state[f"{source}.{module}.weight"].T for name, module in parts.items()}
        weights[f"{to}.attention_norm.scale"] = state[f"{source}.input_layernorm.weight"]
        weights[f"{to}.feed_forward_norm.scale"] = state[f"{source}.post_attention_layernorm.weight"]
    return reference, Decoder(num_layers=2, hidden_size=16, num_heads=4, **LLAMA), weights


@cache
def both(make: Any) -> tuple[Any, CachedDecoder]:
    """Their model and ours with the same weights."""
    reference, spec, weights = make()
    backbone = build_backbone(spec, vocab_size=VOCAB, max_length=CONTEXT)
    head = build_head(CausalLm(), "lm", backbone=backbone, model_spec=spec)
    model = Model(backbone, {"lm": head})
    assert {canonical(weight) for weight in model.weights} == weights.keys()
    for weight in model.weights:
        weight.assign(weights[canonical(weight)])
    return reference, CachedDecoder(backbone, head, context=CONTEXT)


def words_of(settings: Settings) -> dict[str, Any]:
    """Our words as generate's."""
    lists = {
        "bad_words_ids": settings.bad_words,
        "suppress_tokens": settings.suppressed,
        "begin_suppress_tokens": settings.suppressed_first,
    }
    return {
        "do_sample": False,
        "repetition_penalty": settings.repetition_penalty,
        "no_repeat_ngram_size": settings.no_repeat_ngram,
        "min_new_tokens": settings.min_tokens or None,
        "min_length": settings.min_length or None,
        "forced_bos_token_id": settings.forced_first,
        "forced_eos_token_id": list(settings.forced_last) or None,
        "renormalize_logits": settings.renormalize,
        "eos_token_id": list(settings.end) or None,
        "pad_token_id": 0,
        "num_beams": settings.beams,
        "num_return_sequences": settings.texts,
        "max_new_tokens": NEW,
    } | {name: [list(x) if isinstance(x, tuple) else x for x in value] for name, value in lists.items() if value} | (
        {"length_penalty": settings.length_penalty, "early_stopping": settings.early_stopping} if settings.beams > 1 else {}
    )  # fmt: skip


def expected(
    reference: Any, settings: Settings, prompts: np.ndarray, mask: np.ndarray | None = None
) -> tuple[list[list[int]], list[float] | None]:
    asked = {"attention_mask": torch.tensor(np.ones_like(prompts) if mask is None else mask), **words_of(settings)}
    made = reference.generate(torch.tensor(prompts), return_dict_in_generate=True, output_scores=True, **asked)
    rows = [row[prompts.shape[1] :].tolist() for row in made.sequences]
    cut = [next((row[:i] for i, token in enumerate(row) if token in settings.end), row) for row in rows]
    return cut, made.sequences_scores.tolist() if settings.beams > 1 else None


RULES = {
    "no rule": Settings(),
    "an end": Settings(end=(7,)),
    "several ends": Settings(end=(7, 11, 23)),
    "repetition penalty": Settings(repetition_penalty=1.7),
    "a reward for repetition": Settings(repetition_penalty=0.8),
    "no repeated token": Settings(no_repeat_ngram=1),
    "no repeated pair": Settings(no_repeat_ngram=2),
    "no repeated triple": Settings(no_repeat_ngram=3),
    "min tokens": Settings(end=(7, 11, 23), min_tokens=12),
    "min length": Settings(end=(7, 11, 23), min_length=15),
    "bad words": Settings(bad_words=((3,), (5,), (8, 9), (30, 31), (12, 13, 14)), end=(5,)),
    "suppressed": Settings(suppressed=tuple(range(0, 40, 3)), suppressed_first=tuple(range(20, 40))),
    "a forced last": Settings(forced_last=(17,), end=(7,)),
    "all together": Settings(
        repetition_penalty=1.3, no_repeat_ngram=2, min_tokens=5, bad_words=((8,), (9, 10)), suppressed=(1, 2), forced_last=(7,), end=(7,)
    ),
}


@pytest.mark.parametrize(("make", "name"), [*((gpt2, name) for name in RULES), (llama, "all together")])
def test_greedy_ids_under_every_rule_are_transformers(make: Any, name: str) -> None:
    reference, model = both(make)
    settings = replace(RULES[name], temperature=0.0)
    made = build_generator(model, settings).generate(PROMPTS.tolist(), max_tokens=NEW)
    assert [one.ids for one in made] == expected(reference, settings, PROMPTS)[0]


@pytest.mark.parametrize("name", ["no rule", "a forced first"])
def test_a_single_token_may_be_followed_by_a_forced_one(name: str) -> None:
    reference, model = both(gpt2)
    settings = Settings(temperature=0, forced_first=21 if name == "a forced first" else None, suppressed_first=(3, 4, 21))
    made = build_generator(model, settings).generate(PROMPTS[:, :1].tolist(), max_tokens=NEW)
    assert [one.ids for one in made] == expected(reference, settings, PROMPTS[:, :1])[0]


ENDS = ((7,), (7, 11, 23), ())
BEAMS = [(penalty, stopping) for penalty in (0.0, 0.6, 2.0, -1.0) for stopping in (False, True, "never")]
CASES = [(gpt2, *case, ENDS[(i + i // 3) % 3]) for i, case in enumerate(BEAMS)]  # all ends with each way to stop
CASES += [(llama, 1.0, stopping, (7, 11)) for stopping in (False, True, "never")]


@pytest.mark.parametrize(("make", "penalty", "stopping", "ends"), CASES)
def test_beams_are_transformers(make: Any, penalty: float, stopping: Any, ends: tuple[int, ...]) -> None:
    reference, model = both(make)
    settings = Settings(beams=3, texts=3, length_penalty=penalty, early_stopping=stopping, end=ends)
    made = build_generator(model, settings).generate(PROMPTS.tolist(), max_tokens=NEW)
    ids, scores = expected(reference, settings, PROMPTS)
    assert [one.ids for one in made] == ids
    np.testing.assert_allclose(np.array([one.score for one in made]), np.array(scores), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["repetition penalty", "min tokens", "all together", "all, made probabilities again"])
def test_beams_under_rules_are_transformers(name: str) -> None:
    reference, model = both(gpt2)
    rules = RULES.get(name) or replace(RULES["all together"], renormalize=True)
    settings = replace(rules, beams=4, texts=2)
    made = build_generator(model, settings).generate(PROMPTS.tolist(), max_tokens=NEW)
    assert [one.ids for one in made] == expected(reference, settings, PROMPTS)[0]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("make", [gpt2, llama])
def test_prompts_of_different_lengths_are_padded_on_the_left(make: Any, beams: int) -> None:
    reference, model = both(make)
    settings = Settings(temperature=0.0, beams=beams, repetition_penalty=1.2, end=(7, 11))
    mask = np.arange(PROMPTS.shape[1]) >= np.array([[4], [0], [7]])
    made = build_generator(model, settings).generate([row[real].tolist() for row, real in zip(PROMPTS, mask, strict=True)], max_tokens=NEW)
    assert [one.ids for one in made] == expected(reference, settings, np.where(mask, PROMPTS, 0), mask.astype(int))[0]


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "min_p", "all"])
def test_a_draw_chooses_from_the_same_tokens_with_the_same_probabilities(name: str) -> None:
    values = {"temperature": 0.7, "top_k": 9, "top_p": 0.8, "min_p": 0.15}
    chosen = values if name == "all" else {name: values[name]}
    logits = np.random.default_rng(3).normal(0, 2, (16, VOCAB)).astype(np.float32)
    config = transformers.GenerationConfig(do_sample=True, **{"top_k": 0} | chosen)
    reference = theirs("GPT2LMHeadModel", "GPT2Config", 0.1, n_embd=4, n_layer=1, n_head=1)
    reference._prepare_special_tokens(config, False)
    warped = reference._get_logits_processor(config, 1)(torch.ones((16, 1), dtype=torch.long), torch.tensor(logits))
    scaled = ops.convert_to_tensor(logits / chosen.get("temperature", 1.0))
    ours = ops.softmax(truncate(scaled, **{key: value for key, value in chosen.items() if key != "temperature"}), axis=-1)
    np.testing.assert_allclose(np.asarray(ours), warped.softmax(-1).numpy(), atol=1e-6)
