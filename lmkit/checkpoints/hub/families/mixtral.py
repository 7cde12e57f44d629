"""Mixtral (Jiang et al., 2024): a Mistral with a mixture of experts in every layer."""

from lmkit.checkpoints.hub.families.llama import ROOT_MEAN_SQUARE, SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import field
from lmkit.checkpoints.hub.layers import mixture, one_window
from lmkit.checkpoints.hub.rope import rope

EXPERTS = """
layers.{i}.block_sparse_moe.gate = decoder.layers.{i}.feed_forward.router lin
layers.{i}.block_sparse_moe.experts.{e}.(w1|w3|w2) = decoder.layers.{i}.feed_forward.(gate|up|down) lin
"""

FAMILY = Family(
    model_type="mixtral",
    silent={"num_key_value_heads": 8},
    bare="MixtralModel",
    classes=classes("Mixtral"),
    config=(
        *SIZES,
        *ROOT_MEAN_SQUARE,
        field("head_dim", "head_dim", default=None),
        rope(base=1e6),
        one_window(),
        mixture(
            "intermediate_size",
            ("num_local_experts", "num_experts"),
            "num_experts_per_tok",
            renormalize=True,
            sparse=lambda config, layers: [True] * layers,
        ),
    ),
    weights="\n".join(line for line in WEIGHTS.splitlines() if ".mlp." not in line) + EXPERTS,
)
