"""OLMo 2 (Allen Institute, 2024): norms on what the parts give, none before them; queries and keys normed over their whole width."""

from lmkit.checkpoints.hub.families.llama import SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import activation, attention_bias, fixed, number
from lmkit.checkpoints.hub.rope import rope

NORMS = """
layers.{i}.post_attention_layernorm = decoder.layers.{i}.attention_norm norm
layers.{i}.post_feedforward_layernorm = decoder.layers.{i}.feed_forward_norm norm
layers.{i}.self_attn.(q|k)_norm = decoder.layers.{i}.attention.(query|key)_norm norm
"""

FAMILY = Family(
    model_type="olmo2",
    bare="Olmo2Model",
    classes=classes("Olmo2", only=("CausalLM", "SequenceClassification")),
    config=(
        *SIZES,
        fixed(norm__kind="rms_norm", norm__placement="branch_post", attention__qk_norm="full"),
        fixed(feed_forward__kind="gated", feed_forward__bias=False),
        number("norm.epsilon", "rms_norm_eps", default=1e-5),
        activation("feed_forward.activation", "hidden_act", default="silu"),
        attention_bias(default=False),
        rope(),
    ),
    weights="\n".join(line for line in WEIGHTS.splitlines() if "layernorm" not in line) + NORMS,
)
