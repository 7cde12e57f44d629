"""StarCoder 2 (BigCode, 2024): layer norms, biases and a dense feed-forward part in a Llama's frame."""

from lmkit.checkpoints.hub.families.llama import SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import activation, attention_bias, dropouts, fixed, number, switch
from lmkit.checkpoints.hub.layers import one_window
from lmkit.checkpoints.hub.rope import rope

DENSE = """
layers.{i}.mlp.c_fc = decoder.layers.{i}.feed_forward.up lin
layers.{i}.mlp.c_proj = decoder.layers.{i}.feed_forward.down lin
"""

FAMILY = Family(
    model_type="starcoder2",
    tied=True,
    silent={"num_key_value_heads": 2},
    bare="Starcoder2Model",
    classes=classes("Starcoder2"),
    config=(
        *SIZES,
        fixed(norm__kind="layer_norm", norm__placement="pre", feed_forward__kind="dense"),
        number("norm.epsilon", "norm_epsilon", default=1e-5),
        activation("feed_forward.activation", "hidden_act", default="gelu_pytorch_tanh"),
        attention_bias("use_bias", default=True),
        switch("feed_forward.bias", "use_bias", default=True),
        rope(),
        one_window(),
        dropouts("residual_dropout", "attention_dropout"),
    ),
    weights="\n".join(line for line in WEIGHTS.splitlines() if ".mlp." not in line) + DENSE,
)
