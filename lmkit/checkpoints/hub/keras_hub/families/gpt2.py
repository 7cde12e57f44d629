"""keras-hub's GPT-2."""

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import field, fixed
from lmkit.checkpoints.hub.keras_hub.families.bert import HEADER, SIZES, layer

WEIGHTS = rf"""
{HEADER}
{layer("transformer_decoder", "decoder")}
layers/layer_normalization = decoder.norm affine
"""

FAMILY = Family(
    model_type="GPT2Backbone",
    bare="GPT2Backbone",
    tied=True,
    output=(),
    max_length=("max_sequence_length",),
    vocabulary=("vocabulary_size",),
    classes={"GPT2CausalLM": (Head("causal_lm"),)},
    config=(
        fixed(kind="decoder", norm__kind="layer_norm", norm__placement="pre", norm__epsilon=1e-5, tie_embeddings=True),
        fixed(feed_forward__kind="dense", feed_forward__activation="gelu_tanh", position__embedding__kind="learned"),
        *SIZES,
        field("position.embedding.max_length", "max_sequence_length", default=1024),
    ),
    weights=WEIGHTS,
)
