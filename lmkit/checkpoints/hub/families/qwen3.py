"""Qwen 3 (Alibaba, 2025): queries and keys normed over each head."""

from lmkit.checkpoints.hub.families.llama import ROOT_MEAN_SQUARE, SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.families.qwen2 import late_windows
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import attention_bias, field, fixed
from lmkit.checkpoints.hub.rope import rope

NORMS = "layers.{i}.self_attn.(q|k)_norm = decoder.layers.{i}.attention.(query|key)_norm norm\n"

FAMILY = Family(
    model_type="qwen3",
    bare="Qwen3Model",
    classes=classes("Qwen3"),
    config=(
        *SIZES,
        *ROOT_MEAN_SQUARE,
        fixed(attention__qk_norm="head", feed_forward__bias=False),
        attention_bias(default=False),
        field("head_dim", "head_dim", default=128),
        rope(),
        late_windows(),
    ),
    weights=WEIGHTS + NORMS,
)
