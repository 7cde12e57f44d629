"""Phi 3, 3.5 and 4 (Microsoft, 2024): a Llama with fused projections and, in its long versions, a factor for each frequency."""

from lmkit.checkpoints.hub.families.llama import ROOT_MEAN_SQUARE, SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import dropouts, field, number
from lmkit.checkpoints.hub.layers import one_window
from lmkit.checkpoints.hub.rope import rope

FUSED = """
layers.{i}.self_attn.qkv_proj = decoder.layers.{i}.attention.{query,key,value} lin
layers.{i}.self_attn.o_proj = decoder.layers.{i}.attention.output lin
layers.{i}.mlp.gate_up_proj = decoder.layers.{i}.feed_forward.{gate,up} lin
layers.{i}.mlp.down_proj = decoder.layers.{i}.feed_forward.down lin
"""

FAMILY = Family(
    model_type="phi3",
    bare="Phi3Model",
    classes=classes("Phi3"),
    config=(
        *SIZES,
        *ROOT_MEAN_SQUARE,
        number("norm.epsilon", "rms_norm_eps", default=1e-5),
        field("head_dim", "head_dim", default=None),
        rope(fraction=1.0, names=("type",), original=4096),
        one_window(),
        dropouts("resid_pdrop", "attention_dropout"),
    ),
    weights="\n".join(line for line in WEIGHTS.splitlines() if "_proj = " not in line) + FUSED,
)
