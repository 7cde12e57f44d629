"""Llama 1 to 3 (Touvron et al., 2023) and the many that have its class: SmolLM, Yi, TinyLlama, DeepSeek, ..."""

from collections.abc import Sequence

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import Entry, activation, attention_bias, dropouts, field, fixed, number, only, switch
from lmkit.checkpoints.hub.rope import rope

WEIGHTS = r"""
prefix: model. |
ignore: (layers\.[0-9]+\.self_attn\.)?rotary_emb\.inv_freq
embed_tokens = embeddings.token emb alias:/lm_head.weight
layers.{i}.input_layernorm = decoder.layers.{i}.attention_norm norm
layers.{i}.self_attn.(q|k|v|o)_proj = decoder.layers.{i}.attention.(query|key|value|output) lin
layers.{i}.post_attention_layernorm = decoder.layers.{i}.feed_forward_norm norm
layers.{i}.mlp.(gate|up|down)_proj = decoder.layers.{i}.feed_forward.(gate|up|down) lin
norm = decoder.norm norm
/lm_head = heads.causal_lm.output lin
/score = heads.classification.classifier lin
/score = heads.regression.classifier lin
/score = heads.token_classification.classifier lin
"""

SIZES: tuple[Entry, ...] = (
    fixed(kind="decoder"),
    field("num_layers", "num_hidden_layers"),
    field("hidden_size", "hidden_size"),
    field("num_heads", "num_attention_heads"),
    field("num_kv_heads", "num_key_value_heads", default=None),
    field("feed_forward.intermediate_size", "intermediate_size"),
    dropouts("", "attention_dropout"),
)

ROOT_MEAN_SQUARE: tuple[Entry, ...] = (
    fixed(norm__kind="rms_norm", norm__placement="pre", feed_forward__kind="gated"),
    number("norm.epsilon", "rms_norm_eps", default=1e-6),
    activation("feed_forward.activation", "hidden_act", default="silu"),
)


HEADS = {
    "CausalLM": (Head("causal_lm", marker="lm_head.weight"),),
    "SequenceClassification": (Head("classification", {"pooling": "last", "classifier_bias": False}),),
    "TokenClassification": (Head("token_classification"),),
}


def classes(name: str, only: Sequence[str] = tuple(HEADS)) -> dict[str, tuple[Head, ...]]:
    """The classes that decoders of this style have."""
    return {f"{name}For{task}": HEADS[task] for task in only}


FAMILY = Family(
    model_type="llama",
    bare="LlamaModel",
    classes=classes("Llama"),
    config=(
        *SIZES,
        *ROOT_MEAN_SQUARE,
        rope(),
        field("head_dim", "head_dim", default=None),
        attention_bias(default=False),
        switch("feed_forward.bias", "mlp_bias", default=False),
        only("pretraining_tp", 1),
    ),
    weights=WEIGHTS,
)
