"""Granite 3 (IBM, 2024): a Llama with a factor each for embeddings, scores, branches and logits."""

from typing import Any

from lmkit.checkpoints.hub.families.llama import ROOT_MEAN_SQUARE, SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import Config, Entry, attention_bias, number, real, switch
from lmkit.checkpoints.hub.rope import rope
from lmkit.checkpoints.hub.words import Flat


def _logits() -> Entry:
    """`logits_scaling`, which divides."""

    def read(config: Config, flat: Flat) -> None:
        flat["output.scale"] = 1 / real(config, ("logits_scaling",), 1.0, above=0)

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config["logits_scaling"] = 1 / flat["output.scale"]

    return Entry(read, write)


FAMILY = Family(
    model_type="granite",
    bare="GraniteModel",
    classes=classes("Granite", only=("CausalLM",)),
    config=(
        *SIZES,
        *ROOT_MEAN_SQUARE,
        attention_bias(default=False),
        switch("feed_forward.bias", "mlp_bias", default=False),
        number("embedding_scale", "embedding_multiplier", default=1.0),
        number("attention.scale", "attention_multiplier", default=1.0),
        number("residual_scale", "residual_multiplier", default=1.0),
        _logits(),
        rope(),
    ),
    weights=WEIGHTS,
)
