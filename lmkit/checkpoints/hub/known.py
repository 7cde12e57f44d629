"""The families that lmkit knows; the order is that in which a model of our own words looks for one that fits."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from lmkit.checkpoints.hub.families import (
    albert,
    bart,
    bert,
    bloom,
    deberta_v2,
    distilbert,
    electra,
    gemma,
    gemma2,
    gemma3_text,
    gpt2,
    gpt_neo,
    gpt_neox,
    gptj,
    granite,
    llama,
    mistral,
    mixtral,
    modernbert,
    mpnet,
    olmo2,
    opt,
    phi,
    phi3,
    qwen2,
    qwen3,
    qwen3_moe,
    roberta,
    smollm3,
    stablelm,
    starcoder2,
    t5,
)
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
    deberta_v2.FAMILY,
    gpt2.FAMILY,
    gpt_neo.FAMILY,
    gptj.FAMILY,
    gpt_neox.FAMILY,
    opt.FAMILY,
    bloom.FAMILY,
    llama.FAMILY,
    mistral.FAMILY,
    mixtral.FAMILY,
    qwen2.FAMILY,
    qwen3.FAMILY,
    qwen3_moe.FAMILY,
    gemma.FAMILY,
    gemma2.FAMILY,
    gemma3_text.FAMILY,
    gemma3_text.WRAPPED,
    phi.FAMILY,
    phi3.FAMILY,
    olmo2.FAMILY,
    granite.FAMILY,
    starcoder2.FAMILY,
    smollm3.FAMILY,
    stablelm.FAMILY,
    t5.FAMILY,
    t5.MT5,
    t5.ENCODER,
    t5.MT5_ENCODER,
    bart.BART,
    bart.MBART,
    bart.PEGASUS,
    bart.MARIAN,
)


def family_of(config: Mapping[str, Any], families: Sequence[Family] = FAMILIES) -> tuple[Family, Mapping[str, Any]]:
    """The family that a config names, and the part of the config that is the model's. Raises CheckpointError naming those like it.

    Of several of one `model_type` it is that which has the class, else the first.
    """
    name, named = config.get("model_type"), config.get("architectures")
    if name is None:
        raise refuse("model_type is missing; it names the family: lmkit import --help lists all that are known")
    found = [family for family in families if family.model_type == name]
    if not found:
        near = get_close_matches(str(name), [family.model_type for family in families], 3, 0.7)
        meant = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
        raise refuse(f"model_type: {str(name)[:60]!r} is not known; {meant}lmkit import --help lists all that are")
    family = next((one for one in found if isinstance(named, list) and named and named[0] in (one.bare, *one.classes)), found[0])
    inner = config.get(family.inside) if family.inside else config
    if not isinstance(inner, Mapping):
        raise refuse(f"{family.inside} is missing")
    outer = {key: config[key] for key in ("architectures", "tie_word_embeddings") if key in config}
    return family, {**family.silent, **inner, **(outer if family.inside else {})}
