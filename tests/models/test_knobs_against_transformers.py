"""Each knob of a stack is what some published architecture has: the same weights give the same hidden states."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.spec import Decoder, Encoder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB, LENGTH, REACH = 40, 12, 32
Source = str | tuple[str, Callable[[np.ndarray], np.ndarray]]  # a module of theirs, and the part of its tensors that is meant
Modules = dict[str, Source]

RMS = {"kind": "rms_norm", "epsilon": 1e-6}
GATED = {"kind": "gated", "intermediate_size": 24}
SIZES = {"num_layers": 3, "hidden_size": 16, "num_heads": 4}
WIDE = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 24, "max_position_embeddings": REACH}
GROUPED = WIDE | {"num_key_value_heads": 2}

DECODER: Modules = {
    "embeddings.token": "embed_tokens",
    "decoder.norm": "norm",
    "decoder.layers.{i}.attention_norm": "layers.{i}.input_layernorm",
    "decoder.layers.{i}.feed_forward_norm": "layers.{i}.post_attention_layernorm",
    "decoder.layers.{i}.attention.(query|key|value|output)": "layers.{i}.self_attn.{q|k|v|o}_proj",
    "decoder.layers.{i}.feed_forward.(up|down|gate)": "layers.{i}.mlp.{up|down|gate}_proj",
}
QK = {"decoder.layers.{i}.attention.(query|key)_norm": "layers.{i}.self_attn.{q|k}_norm"}
BERT: Modules = {
    "embeddings.token": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.token_type": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "encoder.layers.{i}.attention.(query|key|value)": "encoder.layer.{i}.attention.self.{query|key|value}",
    "encoder.layers.{i}.attention.output": "encoder.layer.{i}.attention.output.dense",
    "encoder.layers.{i}.attention_norm": "encoder.layer.{i}.attention.output.LayerNorm",
    "encoder.layers.{i}.feed_forward.up": "encoder.layer.{i}.intermediate.dense",
    "encoder.layers.{i}.feed_forward.down": "encoder.layer.{i}.output.dense",
    "encoder.layers.{i}.feed_forward_norm": "encoder.layer.{i}.output.LayerNorm",
}
POST = {"norm": {"kind": "layer_norm", "placement": "post", "epsilon": 1e-12}, "feed_forward": {"kind": "dense", "intermediate_size": 24}}
LLAMA = {"kind": "decoder", **SIZES, "num_kv_heads": 2, "position": "rotary", "norm": RMS, "feed_forward": GATED}


def third(part: int) -> Callable[[np.ndarray], np.ndarray]:
    """One of three fused projections, stacked head by head (NeoX, BLOOM): rows or entries [N, 3, H]."""
    return lambda x: x.reshape(4, 3, 4, *x.shape[1:])[:, part].reshape(16, *x.shape[1:])


def rows(start: int, stop: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: x[start:stop]


def llama(**changes: Any) -> tuple[dict[str, Any], Modules]:
    return LLAMA | changes, DECODER


def rope(**scaling: Any) -> dict[str, Any]:
    """transformers' spelling, with the names that ours has in its own."""
    names = {"kind": "rope_type", "original_max_length": "original_max_position_embeddings"}
    names |= {"low_frequency_factor": "low_freq_factor", "high_frequency_factor": "high_freq_factor"}
    return {"rope_theta": 10000.0} | {names.get(name, name): value for name, value in scaling.items()}


SCALINGS: list[dict[str, Any]] = [
    {"kind": "linear", "factor": 3.0},
    {"kind": "dynamic", "factor": 3.0, "original_max_length": 8},
    {"kind": "llama3", "factor": 4.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_max_length": 16},
    {"kind": "yarn", "factor": 4.0, "original_max_length": 8},
    {"kind": "yarn", "factor": 4.0, "original_max_length": 8, "beta_fast": 4.0, "truncate": False, "attention_factor": 1.3},
    {"kind": "yarn", "factor": 4.0, "original_max_length": 8, "beta_fast": 8.0, "beta_slow": 0.5, "mscale": 0.7, "mscale_all_dim": 1.2},
]
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], Modules]] = {}


def case(name: str, family: str, sizes: dict[str, Any], words: dict[str, Any], modules: Modules) -> None:
    CASES[name] = (family, sizes, words, modules)


for number, scaling in enumerate(SCALINGS):
    position = {"kind": "rotary", "scaling": scaling}
    reach = {"max_position_embeddings": scaling.get("original_max_length", REACH)} if scaling["kind"] == "dynamic" else {}
    case(f"llama_{scaling['kind']}_{number}", "Llama", GROUPED | reach | {"rope_parameters": rope(**scaling)}, *llama(position=position))

case(
    "qwen2",
    "Qwen2",
    GROUPED | {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1},
    *llama(attention={"bias": {"query": True, "key": True, "value": True, "output": False}, "window": ["full", 3, 3]}),
)
case(
    "qwen3",
    "Qwen3",
    GROUPED | {"head_dim": 6},
    LLAMA | {"head_dim": 6, "attention": {"qk_norm": "head"}},
    DECODER | QK,
)
case(
    "olmo2",
    "Olmo2",
    GROUPED,
    LLAMA | {"norm": RMS | {"placement": "branch_post", "epsilon": 1e-5}, "attention": {"qk_norm": "full"}},
    {
        **DECODER,
        **QK,
        "decoder.layers.{i}.attention_norm": "layers.{i}.post_attention_layernorm",
        "decoder.layers.{i}.feed_forward_norm": "layers.{i}.post_feedforward_layernorm",
    },
)
EXPERTS = {"kind": "mixture", "num_experts": 3, "experts_per_token": 2, "intermediate_size": 24}
case(
    "mixtral",
    "Mixtral",
    GROUPED | {"num_local_experts": 3},
    LLAMA | {"norm": RMS | {"epsilon": 1e-5}, "position": {"kind": "rotary", "base": 1e6}, "feed_forward": EXPERTS},
    {
        **DECODER,
        "decoder.layers.{i}.feed_forward.router": "layers.{i}.mlp.gate",
        "decoder.layers.{i}.feed_forward.gate": ("layers.{i}.mlp.experts.gate_up_proj", lambda x: x[:, :24]),
        "decoder.layers.{i}.feed_forward.up": ("layers.{i}.mlp.experts.gate_up_proj", lambda x: x[:, 24:]),
        "decoder.layers.{i}.feed_forward.down": "layers.{i}.mlp.experts.down_proj",
    },
)
case(
    "qwen3_moe",
    "Qwen3Moe",
    GROUPED
    | {"head_dim": 4, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 10, "decoder_sparse_step": 2}
    | {"norm_topk_prob": False},
    LLAMA | {"attention": {"qk_norm": "head"}, "feed_forward": [GATED, EXPERTS | {"intermediate_size": 10, "renormalize": False}]},
    DECODER
    | QK
    | {
        "decoder.layers.1.feed_forward.router": "layers.1.mlp.gate",
        "decoder.layers.1.feed_forward.gate": ("layers.1.mlp.experts.gate_up_proj", lambda x: x[:, :10]),
        "decoder.layers.1.feed_forward.up": ("layers.1.mlp.experts.gate_up_proj", lambda x: x[:, 10:]),
        "decoder.layers.1.feed_forward.down": "layers.1.mlp.experts.down_proj",
    },
)
GEMMA = LLAMA | {"embedding_scale": "sqrt_hidden", "feed_forward": GATED | {"activation": "gelu_tanh"}, "head_dim": 6}
case("gemma", "Gemma", GROUPED | {"head_dim": 6}, GEMMA | {"norm": RMS | {"unit_offset": True}}, DECODER)
SANDWICH = {
    **DECODER,
    "decoder.layers.{i}.attention_post_norm": "layers.{i}.post_attention_layernorm",
    "decoder.layers.{i}.feed_forward_norm": "layers.{i}.pre_feedforward_layernorm",
    "decoder.layers.{i}.feed_forward_post_norm": "layers.{i}.post_feedforward_layernorm",
}
GEMMA_NORM = {"norm": RMS | {"unit_offset": True, "placement": "sandwich"}}
case(
    "gemma2",
    "Gemma2",
    GROUPED
    | {"head_dim": 6, "query_pre_attn_scalar": 9, "attn_logit_softcapping": 2.0, "sliding_window": 3}
    | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    GEMMA | GEMMA_NORM | {"attention": {"scale": 1 / 3, "softcap": 2.0, "window": [3, "full"]}},
    SANDWICH,
)
case(
    "gemma3",
    "Gemma3Text",
    GROUPED
    | {"head_dim": 6, "query_pre_attn_scalar": 9, "sliding_window": 3}
    | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
    | {
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            "full_attention": rope(kind="linear", factor=2.0),
        }
    },
    GEMMA
    | GEMMA_NORM
    | {"position": {"kind": "rotary", "scaling": {"kind": "linear", "factor": 2.0}}}
    | {"attention": {"scale": 1 / 3, "qk_norm": "head", "window": [3, "full"], "rotary": [{"kind": "rotary", "base": 100.0}, "default"]}},
    SANDWICH | QK,
)
case(
    "granite",
    "Granite",
    GROUPED | {"embedding_multiplier": 3.0, "residual_multiplier": 0.3, "attention_multiplier": 0.2},
    *llama(embedding_scale=3.0, residual_scale=0.3, attention={"scale": 0.2}),
)
case(
    "smollm3",
    "SmolLM3",
    GROUPED | {"no_rope_layers": [1, 0, 1], "pad_token_id": 0},
    *llama(attention={"rotary": ["default", "none"]}, position={"kind": "rotary", "base": 2000000.0}),
)
DENSE = {"kind": "dense", "intermediate_size": 24, "activation": "gelu_tanh"}
PHI = {
    **DECODER,
    "decoder.norm": "final_layernorm",
    "decoder.layers.{i}.attention.output": "layers.{i}.self_attn.dense",
    "decoder.layers.{i}.attention.(query|key)_norm": "layers.{i}.self_attn.{q|k}_layernorm",
    "decoder.layers.{i}.feed_forward.(up|down)": "layers.{i}.mlp.{fc1|fc2}",
}
case(
    "phi",
    "Phi",
    GROUPED | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}, "qk_layernorm": True},
    LLAMA
    | {"norm": "layer_norm", "feed_forward": DENSE, "parallel": "shared_norm", "attention": {"qk_norm": "head"}}
    | {"position": {"kind": "rotary", "fraction": 0.5}},
    PHI,
)
for long in (False, True):
    case(
        f"phi3_longrope_{'long' if long else 'short'}",
        "Phi3",
        GROUPED
        | {"pad_token_id": 0, "original_max_position_embeddings": 8 if long else 16}
        | {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0, 1.5],
                "long_factor": [2.0, 4.0],
                "original_max_position_embeddings": 8 if long else 16,
                "factor": 4.0 if long else 2.0,
            }
        },
        LLAMA
        | {
            "position": {
                "kind": "rotary",
                "scaling": {
                    "kind": "longrope",
                    "short_factor": [1.0, 1.5],
                    "long_factor": [2.0, 4.0],
                    "original_max_length": 8 if long else 16,
                    "attention_factor": float(np.sqrt(1 + np.log(4) / np.log(8)) if long else np.sqrt(1 + np.log(2) / np.log(16))),
                },
            },
            "norm": RMS | {"epsilon": 1e-5},
        },
        DECODER
        | {
            f"decoder.layers.{{i}}.attention.{part}": ("layers.{i}.self_attn.qkv_proj", rows(*cut))
            for part, cut in {"query": (0, 16), "key": (16, 24), "value": (24, 32)}.items()
        }
        | {
            f"decoder.layers.{{i}}.feed_forward.{part}": ("layers.{i}.mlp.gate_up_proj", rows(*cut))
            for part, cut in {"gate": (0, 24), "up": (24, 48)}.items()
        },
    )
case(
    "starcoder2",
    "Starcoder2",
    GROUPED | {"sliding_window": 4},
    LLAMA | {"norm": "layer_norm", "feed_forward": DENSE, "attention": {"window": 4}},
    DECODER | {"decoder.layers.{i}.feed_forward.(up|down)": "layers.{i}.mlp.{c_fc|c_proj}"},
)
for parallel in (True, False):
    fused: Modules = {
        f"decoder.layers.{{i}}.attention.{part}": ("layers.{i}.attention.query_key_value", third(n))
        for n, part in enumerate(("query", "key", "value"))
    }
    case(
        f"neox_{'parallel' if parallel else 'in_turn'}",
        "GPTNeoX",
        WIDE
        | {
            "use_parallel_residual": parallel,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        },
        {"kind": "decoder", **SIZES, "position": {"kind": "rotary", "fraction": 0.5}, "parallel": "own_norms" if parallel else "none"}
        | {"feed_forward": DENSE | {"activation": "gelu"}},
        DECODER
        | fused
        | {
            "embeddings.token": "embed_in",
            "decoder.norm": "final_layer_norm",
            "decoder.layers.{i}.attention.output": "layers.{i}.attention.dense",
            "decoder.layers.{i}.feed_forward.(up|down)": "layers.{i}.mlp.{dense_h_to_4h|dense_4h_to_h}",
        },
    )
GPT: Modules = {
    "embeddings.token": "wte",
    "embeddings.position": "wpe",
    "decoder.norm": "ln_f",
    "decoder.layers.{i}.attention_norm": "h.{i}.ln_1",
    "decoder.layers.{i}.feed_forward_norm": "h.{i}.ln_2",
}
case(
    "gptj",
    "GPTJ",
    {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_inner": 24, "rotary_dim": 6, "n_positions": REACH},
    {"kind": "decoder", **SIZES, "num_heads": 2, "position": {"kind": "rotary", "fraction": 0.75, "layout": "interleaved"}}
    | {"parallel": "shared_norm", "attention": {"bias": False}, "feed_forward": DENSE},
    GPT
    | {
        "decoder.layers.{i}.attention.(query|key|value|output)": "h.{i}.attn.{q|k|v|out}_proj",
        "decoder.layers.{i}.feed_forward.(up|down)": "h.{i}.mlp.fc_{in|out}",
    },
)
case(
    "gpt_neo",
    "GPTNeo",
    {"hidden_size": 16, "num_layers": 3, "num_heads": 4, "intermediate_size": 24, "max_position_embeddings": REACH, "window_size": 3}
    | {"attention_types": [[["global", "local", "local"], 1]]},
    {"kind": "decoder", **SIZES, "feed_forward": DENSE}
    | {"attention": {"scale": 1.0, "window": ["full", 3, 3], "bias": {"query": False, "key": False, "value": False}}},
    GPT
    | {
        "decoder.layers.{i}.attention.(query|key|value|output)": "h.{i}.attn.attention.{q|k|v|out}_proj",
        "decoder.layers.{i}.feed_forward.(up|down)": "h.{i}.mlp.{c_fc|c_proj}",
    },
)
OPT: Modules = {
    "embeddings.token": "decoder.embed_tokens",
    "embeddings.position": "decoder.embed_positions",
    "embeddings.projection": "decoder.project_in",
    "decoder.norm": "decoder.final_layer_norm",
    "decoder.layers.{i}.attention_norm": "decoder.layers.{i}.self_attn_layer_norm",
    "decoder.layers.{i}.feed_forward_norm": "decoder.layers.{i}.final_layer_norm",
    "decoder.layers.{i}.attention.(query|key|value|output)": "decoder.layers.{i}.self_attn.{q|k|v|out}_proj",
    "decoder.layers.{i}.feed_forward.(up|down)": "decoder.layers.{i}.{fc1|fc2}",
}
OPT_SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 24, "max_position_embeddings": REACH}
OPT_WORDS = {"kind": "decoder", **SIZES, "position": {"kind": "learned", "offset": 2}, "feed_forward": DENSE | {"activation": "relu"}}
case("opt", "OPT", OPT_SIZES | {"word_embed_proj_dim": 16}, OPT_WORDS, OPT)
case(
    "bloom",
    "Bloom",
    {"hidden_size": 16, "n_layer": 3, "n_head": 4, "apply_residual_connection_post_layernorm": True},
    {
        "kind": "decoder",
        **SIZES,
        "position": "alibi",
        "residual": "norm",
        "embedding_norm": True,
        "feed_forward": {"activation": "gelu_tanh", "kind": "dense"},
    },
    GPT
    | {
        "embeddings.token": "word_embeddings",
        "embeddings.norm": "word_embeddings_layernorm",
        "decoder.layers.{i}.attention_norm": "h.{i}.input_layernorm",
        "decoder.layers.{i}.feed_forward_norm": "h.{i}.post_attention_layernorm",
        "decoder.layers.{i}.attention.output": "h.{i}.self_attention.dense",
        "decoder.layers.{i}.feed_forward.(up|down)": "h.{i}.mlp.{dense_h_to_4h|dense_4h_to_h}",
    }
    | {
        f"decoder.layers.{{i}}.attention.{part}": ("h.{i}.self_attention.query_key_value", third(n))
        for n, part in enumerate(("query", "key", "value"))
    },
)
case(
    "roberta",
    "Roberta",
    WIDE | {"type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-12, "max_position_embeddings": REACH + 2},
    {"kind": "encoder", **SIZES, **POST, "token_types": 1}
    | {"position": {"kind": "learned", "max_length": REACH, "offset": 2, "ids": "non_padding", "padding_id": 1}},
    BERT,
)
case(
    "electra",
    "Electra",
    WIDE | {"embedding_size": 10},
    {"kind": "encoder", **SIZES, **POST, "token_types": 2, "embedding_size": 10},
    BERT | {"embeddings.projection": "embeddings_project"},
)
case(
    "mpnet",
    "MPNet",
    WIDE | {"pad_token_id": 1, "layer_norm_eps": 1e-12, "max_position_embeddings": REACH + 2},
    {"kind": "encoder", **SIZES, **POST}
    | {"position": [{"kind": "learned", "max_length": REACH, "offset": 2, "ids": "non_padding", "padding_id": 1}, "relative"]},
    BERT
    | {
        "encoder.relative": "encoder.relative_attention_bias",
        "encoder.layers.{i}.attention.(query|key|value|output)": "encoder.layer.{i}.attention.attn.{q|k|v|o}",
        "encoder.layers.{i}.attention_norm": "encoder.layer.{i}.attention.LayerNorm",
    },
)
DISTANT = BERT | {
    "encoder.distance": "encoder.rel_embeddings",
    "encoder.distance.norm": "encoder.LayerNorm",
    "encoder.layers.{i}.attention.(query|key|value)": "encoder.layer.{i}.attention.self.{query|key|value}_proj",
    "encoder.layers.{i}.attention.distance.(query|key)": "encoder.layer.{i}.attention.self.pos_{query|key}_proj",
}
DEBERTA = WIDE | {"relative_attention": True, "position_biased_input": False, "type_vocab_size": 0, "layer_norm_eps": 1e-12}
case(
    "deberta_v3",
    "DebertaV2",
    DEBERTA | {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": ["p2c", "c2p"]},
    {"kind": "encoder", **SIZES, **POST, "position": {"kind": "disentangled", "max_distance": REACH, "buckets": 8}},
    DISTANT,
)
case(
    "deberta_v2",
    "DebertaV2",
    DEBERTA | {"max_relative_positions": 6, "share_att_key": False, "pos_att_type": ["p2c", "c2p"]},
    {"kind": "encoder", **SIZES, **POST, "position": {"kind": "disentangled", "max_distance": 6, "share_key": False, "norm": False}},
    DISTANT,
)
case(
    "deberta_one_way",
    "DebertaV2",
    DEBERTA | {"max_relative_positions": 6, "share_att_key": False, "pos_att_type": ["c2p"]},
    {"kind": "encoder", **SIZES, **POST}
    | {"position": {"kind": "disentangled", "max_distance": 6, "share_key": False, "norm": False, "position_to_content": False}},
    DISTANT,
)
ALBERT = "encoder.albert_layer_groups.{group}.albert_layers.{inner}"
case(
    "albert",
    "Albert",
    WIDE | {"embedding_size": 10, "num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2, "hidden_act": "gelu_new"},
    {"kind": "encoder", **SIZES, **POST, "num_layers": 8, "layer_groups": 2, "blocks_per_group": 2, "embedding_size": 10, "token_types": 2}
    | {"feed_forward": DENSE},
    {name: source for name, source in BERT.items() if name.startswith("embeddings.")}
    | {
        "embeddings.projection": "encoder.embedding_hidden_mapping_in",
        "encoder.layers.{i}.attention.(query|key|value|output)": ALBERT + ".attention.{query|key|value|dense}",
        "encoder.layers.{i}.attention_norm": ALBERT + ".attention.LayerNorm",
        "encoder.layers.{i}.feed_forward.(up|down)": ALBERT + ".{ffn|ffn_output}",
        "encoder.layers.{i}.feed_forward_norm": ALBERT + ".full_layer_layer_norm",
    },
)
case(
    "modernbert",
    "ModernBert",
    WIDE
    | {"global_attn_every_n_layers": 3, "local_attention": 4, "pad_token_id": 0, "attn_implementation": "eager"}
    | {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}
    | {"rope_parameters": {"full_attention": rope(kind="default") | {"rope_theta": 160000.0}, "sliding_attention": rope(kind="default")}},
    {"kind": "encoder", **SIZES, "embedding_norm": True, "norm": {"kind": "layer_norm", "bias": False, "first": False}, "bias": False}
    | {"position": {"kind": "rotary", "base": 160000.0}, "feed_forward": GATED | {"activation": "gelu"}}
    | {"attention": {"window": ["full", 2, 2], "rotary": ["default", *[{"kind": "rotary"}] * 2]}},
    {
        "embeddings.token": "embeddings.tok_embeddings",
        "embeddings.norm": "embeddings.norm",
        "encoder.norm": "final_norm",
        "encoder.layers.{i}.attention_norm": "layers.{i}.attn_norm",
        "encoder.layers.{i}.feed_forward_norm": "layers.{i}.mlp_norm",
        "encoder.layers.{i}.attention.output": "layers.{i}.attn.Wo",
        "encoder.layers.{i}.feed_forward.gate": ("layers.{i}.mlp.Wi", rows(0, 24)),
        "encoder.layers.{i}.feed_forward.up": ("layers.{i}.mlp.Wi", rows(24, 48)),
        "encoder.layers.{i}.feed_forward.down": "layers.{i}.mlp.Wo",
    }
    | {
        f"encoder.layers.{{i}}.attention.{part}": ("layers.{i}.attn.Wqkv", rows(16 * n, 16 * n + 16))
        for n, part in enumerate(("query", "key", "value"))
    },
)


def source_of(module: str, modules: Modules) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """Where the tensors of one of our modules are found in theirs; entries further down win."""
    for ours, found in reversed(modules.items()):
        name, cut = found if isinstance(found, tuple) else (found, lambda x: x)
        match = re.fullmatch(ours.replace(".", r"\.").replace("{i}", r"(?P<i>\d+)"), module)
        if match:
            layer = int(match.groupdict().get("i") or 0)
            name = name.replace("{i}", str(layer)).replace("{group}", str(layer // 2)).replace("{inner}", str(layer % 2))
            choice = re.search(r"\((.+)\)", ours)
            if choice:
                place = choice.group(1).split("|").index(match.groups()[-1])
                name = re.sub(r"\{(.+\|.+)\}", lambda m, place=place: m.group(1).split("|")[place], name)
            return name, cut
    raise KeyError(module)


def fill(backbone: Any, state: dict[str, np.ndarray], modules: Modules) -> None:
    """Their tensors into our variables, matrices turned."""
    for weight in backbone.weights:
        module, _, leaf = canonical(weight).rpartition(".")
        name, cut = source_of(module, modules)
        tensor = state[name] if name in state else state[f"{name}.{'bias' if leaf == 'bias' else 'weight'}"]
        tensor = cut(tensor)
        weight.assign(np.swapaxes(tensor, -1, -2) if leaf == "kernel" else tensor)


def both(name: str) -> tuple[Any, Any]:
    """Theirs with random weights, and ours from the words with the same."""
    family, sizes, words, modules = CASES[name]
    config = getattr(transformers, f"{family}Config")(vocab_size=VOCAB, **sizes)
    config._attn_implementation = config._experts_implementation = "eager"
    torch.manual_seed(0)
    reference = getattr(transformers, f"{family}Model")(config).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # so that biases and scales show
    spec: Any = (Decoder if words["kind"] == "decoder" else Encoder).model_validate(words)
    assert list(spec.problems()) == []
    backbone = build_backbone(spec, vocab_size=VOCAB, max_length=REACH)
    fill(backbone, {key: tensor.numpy() for key, tensor in reference.state_dict().items()}, modules)
    return reference, backbone


def worst(reference: Any, backbone: Any, real: np.ndarray, positions: np.ndarray | None = None) -> float:
    """The largest difference at real tokens, in standard deviations."""
    ids = np.random.default_rng(0).integers(5, VOCAB, (2, LENGTH)).astype(np.int32)
    ids[~real] = getattr(reference.config, "pad_token_id", None) or 0
    given = {"input_ids": ids, "attention_mask": real} | ({} if positions is None else {"position_ids": positions})
    with torch.no_grad():
        expected = reference(**{key: torch.tensor(x.astype(np.int64)) for key, x in given.items()}).last_hidden_state.numpy()
    found = np.asarray(backbone(ids, segments=real.astype(np.int32), positions=positions))
    return float(np.abs(found - expected)[real].max() / expected[real].std())


@pytest.mark.parametrize("name", CASES)
def test_the_words_of_an_architecture_are_that_architecture(name: str) -> None:
    assert worst(*both(name), np.arange(LENGTH) < np.array([[LENGTH], [7]])) < 2e-5


@pytest.mark.parametrize("name", ["llama_dynamic_1", "llama_yarn_3", "opt", "gemma2", "gemma3", "neox_parallel", "gptj", "mixtral"])
def test_positions_of_left_padded_rows_are_the_caller_s(name: str) -> None:
    real = np.arange(LENGTH) >= np.array([[0], [5]])
    assert worst(*both(name), real, np.maximum(np.cumsum(real, 1) - 1, 0).astype(np.int32)) < 2e-5


def test_distances_of_alibi_count_real_tokens_only() -> None:
    real = np.ones((2, LENGTH), bool)
    real[0, [0, 4, 5]], real[1, [8, 11]] = False, False
    assert worst(*both("bloom"), real) < 2e-5
