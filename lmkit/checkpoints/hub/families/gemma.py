"""Gemma (Google, 2024): scales of norms around 0, embeddings times the root of the width, heads wider than the stream."""

from lmkit.checkpoints.hub.families.llama import SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import ACTIVATIONS, Entry, activation, attention_bias, field, fixed, number, only
from lmkit.checkpoints.hub.rope import rope

TANH = {"gelu_pytorch_tanh": "gelu_tanh", **ACTIVATIONS, "gelu": "gelu_tanh"}  # what its first configs call gelu is the approximation

NAMES = ("hidden_act", "hidden_activation")

UNIT: tuple[Entry, ...] = (
    fixed(norm__kind="rms_norm", norm__unit_offset=True, feed_forward__kind="gated", embedding_scale="sqrt_hidden"),
    number("norm.epsilon", "rms_norm_eps", default=1e-6),
    field("head_dim", "head_dim", default=256),
    attention_bias(default=False),
    only("use_bidirectional_attention", False),
)

FAMILY = Family(
    model_type="gemma",
    tied=True,
    silent={"num_key_value_heads": 16},
    bare="GemmaModel",
    classes=classes("Gemma"),
    config=(
        *SIZES,
        *UNIT,
        fixed(norm__placement="pre"),
        activation("feed_forward.activation", *NAMES, default="gelu_pytorch_tanh", names=TANH, also=NAMES[1]),
        rope(),
    ),
    weights=WEIGHTS,
)
