"""StableLM (Stability AI, 2024): layer norms around a Llama's parts, a quarter of the channels rotated."""

from lmkit.checkpoints.hub.families.llama import SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import activation, fixed, flag, number, only
from lmkit.checkpoints.hub.rope import rope

QKV = {on: {f"attention.bias.{part}": on for part in ("query", "key", "value")} for on in (True, False)}

FAMILY = Family(
    model_type="stablelm",
    bare="StableLmModel",
    classes=classes("StableLm"),
    config=(
        *SIZES,
        fixed(norm__kind="layer_norm", norm__placement="pre", attention__bias__output=False),
        fixed(feed_forward__kind="gated", feed_forward__bias=False),
        number("norm.epsilon", "layer_norm_eps", default=1e-5),
        activation("feed_forward.activation", "hidden_act", default="silu"),
        flag("use_qkv_bias", QKV, default=False),
        flag("use_parallel_residual", {True: {"parallel": "shared_norm"}, False: {"parallel": "none"}}, default=False),
        only("qk_layernorm", False),
        rope(fraction=0.25),
    ),
    weights=WEIGHTS,
)
