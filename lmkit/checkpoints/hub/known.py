"""The families that lmkit knows; the order is that in which a model of our own words looks for one that fits."""

from collections.abc import Mapping
from typing import Any

from lmkit.checkpoints.hub.families import albert, bert, distilbert, electra, gpt2, llama, modernbert, mpnet, roberta
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import refuse

FAMILIES: tuple[Family, ...] = (
    bert.FAMILY,
    roberta.ROBERTA,
    roberta.XLM_ROBERTA,
    roberta.CAMEMBERT,
    distilbert.FAMILY,
    albert.FAMILY,
    electra.FAMILY,
    mpnet.FAMILY,
    modernbert.FAMILY,
    gpt2.FAMILY,
    llama.FAMILY,
)


def family_of(config: Mapping[str, Any]) -> tuple[Family, Mapping[str, Any]]:
    """The family that a config names, and the part of the config that is the model's. Raises CheckpointError naming those known."""
    name = config.get("model_type")
    for family in FAMILIES:
        if name == family.model_type:
            inner = config.get(family.inside) if family.inside else config
            if not isinstance(inner, Mapping):
                raise refuse(f"{family.inside} is missing")
            return family, inner if not family.inside else {**inner, "architectures": config.get("architectures")}
    known = ", ".join(family.model_type for family in FAMILIES)
    raise refuse(f"model_type: {str(name)[:60]!r} is not known; lmkit reads {known}")
