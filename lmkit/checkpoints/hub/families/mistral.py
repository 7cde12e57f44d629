"""Mistral (Jiang et al., 2023): a Llama whose layers see a window."""

from lmkit.checkpoints.hub.families.llama import ROOT_MEAN_SQUARE, SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import field
from lmkit.checkpoints.hub.layers import one_window
from lmkit.checkpoints.hub.rope import rope

FAMILY = Family(
    model_type="mistral",
    silent={"num_key_value_heads": 8},
    bare="MistralModel",
    classes=classes("Mistral"),
    config=(*SIZES, *ROOT_MEAN_SQUARE, field("head_dim", "head_dim", default=None), rope(), one_window(4096)),
    weights=WEIGHTS,
)
