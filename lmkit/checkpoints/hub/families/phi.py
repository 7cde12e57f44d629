"""Phi 1 and 2 (Microsoft, 2023): the parts side by side behind one norm, half of the channels rotated."""

from lmkit.checkpoints.hub.families.llama import SIZES, classes
from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import activation, dropouts, fixed, flag, number
from lmkit.checkpoints.hub.rope import rope

WEIGHTS = r"""
prefix: model. |
ignore: (layers\.[0-9]+\.self_attn\.)?rotary_emb\.inv_freq
embed_tokens = embeddings.token emb alias:/lm_head.weight
layers.{i}.input_layernorm = decoder.layers.{i}.attention_norm norm
layers.{i}.self_attn.(q|k|v)_proj = decoder.layers.{i}.attention.(query|key|value) lin
layers.{i}.self_attn.dense = decoder.layers.{i}.attention.output lin
layers.{i}.self_attn.(q|k)_layernorm = decoder.layers.{i}.attention.(query|key)_norm norm
layers.{i}.mlp.fc1 = decoder.layers.{i}.feed_forward.up lin
layers.{i}.mlp.fc2 = decoder.layers.{i}.feed_forward.down lin
final_layernorm = decoder.norm norm
/lm_head = heads.causal_lm.output lin
/lm_head.bias = heads.causal_lm.bias raw
/score = heads.classification.classifier lin
/score = heads.regression.classifier lin
/score = heads.token_classification.classifier lin or:/classifier
"""

FAMILY = Family(
    model_type="phi",
    bare="PhiModel",
    classes={
        **classes("Phi"),
        "PhiForCausalLM": (Head("causal_lm", marker="lm_head.bias"),),
    },
    config=(
        *SIZES,
        fixed(norm__kind="layer_norm", norm__placement="pre", feed_forward__kind="dense", parallel="shared_norm", output__bias=True),
        number("norm.epsilon", "layer_norm_eps", default=1e-5),
        activation("feed_forward.activation", "hidden_act", default="gelu_new"),
        flag("qk_layernorm", {True: {"attention.qk_norm": "head"}, False: {"attention.qk_norm": "none"}}, default=False),
        rope(fraction=0.5),
        dropouts("resid_pdrop", "attention_dropout"),
    ),
    weights=WEIGHTS,
)
