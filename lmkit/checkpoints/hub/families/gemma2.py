"""Gemma 2 (Google, 2024): norms before and after each part, windows in turn, scores and logits capped."""

import math
from typing import Any

from lmkit.checkpoints.hub.families.gemma import TANH, UNIT
from lmkit.checkpoints.hub.families.llama import SIZES, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import Config, Entry, activation, fixed, number, real
from lmkit.checkpoints.hub.layers import every, windows
from lmkit.checkpoints.hub.rope import rope
from lmkit.checkpoints.hub.words import Flat

WEIGHTS = r"""
prefix: model. |
ignore: (layers\.[0-9]+\.self_attn\.)?rotary_emb\.inv_freq
embed_tokens = embeddings.token emb alias:/lm_head.weight
layers.{i}.input_layernorm = decoder.layers.{i}.attention_norm norm
layers.{i}.self_attn.(q|k|v|o)_proj = decoder.layers.{i}.attention.(query|key|value|output) lin
layers.{i}.post_attention_layernorm = decoder.layers.{i}.attention_post_norm norm
layers.{i}.pre_feedforward_layernorm = decoder.layers.{i}.feed_forward_norm norm
layers.{i}.mlp.(gate|up|down)_proj = decoder.layers.{i}.feed_forward.(gate|up|down) lin
layers.{i}.post_feedforward_layernorm = decoder.layers.{i}.feed_forward_post_norm norm
norm = decoder.norm norm
/lm_head = heads.causal_lm.output lin
/score = heads.classification.classifier lin
/score = heads.regression.classifier lin
/score = heads.token_classification.classifier lin
"""


def query_scale(default: int = 256) -> Entry:
    """`query_pre_attn_scalar`, whose inverse root multiplies the scores."""

    def read(config: Config, flat: Flat) -> None:
        flat["attention.scale"] = math.pow(real(config, ("query_pre_attn_scalar",), default, above=0), -0.5)

    def write(flat: Flat, config: dict[str, Any]) -> None:
        scalar = flat["attention.scale"] ** -2
        config["query_pre_attn_scalar"] = round(scalar) if abs(scalar - round(scalar)) < 1e-6 else scalar

    return Entry(read, write)


CAPPED: tuple[Entry, ...] = (
    fixed(norm__placement="sandwich"),
    activation("feed_forward.activation", "hidden_activation", "hidden_act", default="gelu_pytorch_tanh", names=TANH),
    query_scale(),
)

FAMILY = Family(
    model_type="gemma2",
    tied=True,
    silent={"num_key_value_heads": 4},
    bare="Gemma2Model",
    classes=classes("Gemma2"),
    config=(
        *SIZES,
        *UNIT,
        *CAPPED,
        number("attention.softcap", "attn_logit_softcapping", default=None, silent=50.0),
        number("output.softcap", "final_logit_softcapping", default=None, silent=30.0),
        rope(),
        windows(lambda config, layers: every(2)(layers)),
    ),
    weights=WEIGHTS,
)
