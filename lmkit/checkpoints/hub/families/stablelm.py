"""StableLM (Stability AI, 2023): layer norms and partial rotation in a Llama's frame; two of its models have parallel parts."""

from lmkit.checkpoints.hub.families.llama import SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import activation, dropouts, fixed, flag, number, only
from lmkit.checkpoints.hub.rope import rope

QKV = ("query", "key", "value")

FAMILY = Family(
    model_type="stablelm",
    bare="StableLmModel",
    classes=classes("StableLm"),
    config=(
        *SIZES,
        fixed(norm__kind="layer_norm", norm__placement="pre", feed_forward__kind="gated", feed_forward__bias=False),
        fixed(attention__bias__output=False),
        number("norm.epsilon", "layer_norm_eps", default=1e-5),
        activation("feed_forward.activation", "hidden_act", default="silu"),
        flag("use_qkv_bias", {on: {f"attention.bias.{part}": on for part in QKV} for on in (True, False)}, default=False),
        flag("use_parallel_residual", {True: {"parallel": "shared_norm"}, False: {"parallel": "none"}}, default=False),
        only("qk_layernorm", False, write=True),
        rope(fraction=0.25),
        dropouts("hidden_dropout", "attention_dropout"),
    ),
    weights=WEIGHTS,
)
