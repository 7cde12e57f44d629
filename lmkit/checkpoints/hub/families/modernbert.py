"""ModernBERT (Warner et al., 2024): norms before the parts, gated, rotary, and most layers see their neighbours only."""

from typing import Any

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import (
    Config,
    Entry,
    activation,
    attention_bias,
    choice,
    dropouts,
    field,
    fixed,
    inner,
    number,
    real,
    refuse,
    switch,
    truth,
    whole,
)
from lmkit.checkpoints.hub.layers import FULL, SLIDING, kinds_of
from lmkit.checkpoints.hub.rope import laid_rotation, lay_rotation, parameters_of, rotation
from lmkit.checkpoints.hub.words import Flat

WEIGHTS = r"""
prefix: model. |
embeddings.tok_embeddings = embeddings.token emb alias:/decoder.weight
embeddings.norm = embeddings.norm norm
layers.{i}.attn_norm = encoder.layers.{i}.attention_norm norm
layers.{i}.attn.Wqkv = encoder.layers.{i}.attention.{query,key,value} lin
layers.{i}.attn.Wo = encoder.layers.{i}.attention.output lin
layers.{i}.mlp_norm = encoder.layers.{i}.feed_forward_norm norm
layers.{i}.mlp.Wi = encoder.layers.{i}.feed_forward.{gate,up} lin
layers.{i}.mlp.Wo = encoder.layers.{i}.feed_forward.down lin
final_norm = encoder.norm norm
/head.dense = heads.masked_lm.transform lin
/head.norm = heads.masked_lm.transform_norm norm
/decoder.bias = heads.masked_lm.bias raw
/decoder = heads.masked_lm.output lin
/head.dense = heads.classification.pooler lin
/head.norm = heads.classification.pooler_norm norm
/classifier = heads.classification.classifier lin
/head.dense = heads.regression.pooler lin
/head.norm = heads.regression.pooler_norm norm
/classifier = heads.regression.classifier lin
/head.dense = heads.token_classification.transform lin
/head.norm = heads.token_classification.transform_norm norm
/classifier = heads.token_classification.classifier lin
/head.dense = heads.question_answering.transform lin
/head.norm = heads.question_answering.transform_norm norm
/classifier = heads.question_answering.span lin
"""

BASES = {FULL: ("global_rope_theta", 160_000.0), SLIDING: ("local_rope_theta", 10_000.0)}
UNSCALED = {"kind": "none"}


def _kinds(config: Config, layers: int) -> list[str]:
    every = whole(config, ("global_attn_every_n_layers",), 3, least=1)
    return [SLIDING if i % every else FULL for i in range(layers)]


def _parameters(config: Config) -> Config:
    """`rope_parameters`, which has an entry for each kind of layer."""
    given = inner(config, "rope_parameters")
    if given.keys() - BASES.keys():
        raise refuse(f"rope_parameters: it is not one of {' and '.join(BASES)}, each with its own")
    return given


def _layers() -> Entry:
    """Which layers see everything and which their neighbours, each kind with its own rotation."""

    def read(config: Config, flat: Flat) -> None:
        kinds = kinds_of(config, flat, _kinds)
        given = _parameters(config)
        base = real(config, (BASES[FULL][0],), BASES[FULL][1])
        far = rotation(config, base, parameters=inner(given, FULL))
        silent = base if BASES[SLIDING][0] in config else BASES[SLIDING][1]  # null means as the others
        near = rotation(config, real(config, (BASES[SLIDING][0],), silent), parameters=inner(given, SLIDING))
        lay_rotation(flat, far)
        half = whole(config, ("local_attention",), 128, least=2) // 2
        flat["attention.window"] = tuple("full" if kind == FULL else half for kind in kinds)
        own = {"kind": "default"} if near == far else near
        flat["attention.rotary"] = tuple({"kind": "default"} if kind == FULL else own for kind in kinds)

    def write(flat: Flat, config: dict[str, Any]) -> None:
        layers = flat["num_layers"]
        windows, rotations = (v if isinstance(v, tuple) else (v,) * layers for v in (flat["attention.window"], flat["attention.rotary"]))
        kinds = [FULL if window == "full" else SLIDING for window in windows]
        near: dict[str, Any] = next((r for r, kind in zip(rotations, kinds, strict=True) if kind == SLIDING), {"kind": "default"})
        config["layer_types"] = kinds
        every = next((i for i, kind in enumerate(kinds) if i and kind == FULL), layers)
        if kinds == _kinds({"global_attn_every_n_layers": every}, layers):
            config["global_attn_every_n_layers"] = every
        config["local_attention"] = 2 * next((window for window in windows if window != "full"), 64)
        far = laid_rotation(flat)
        near = far if near["kind"] == "default" else near
        config |= {BASES[FULL][0]: far.get("base"), BASES[SLIDING][0]: near.get("base")}
        if any(one.get("scaling", UNSCALED) not in ({}, UNSCALED) for one in (far, near)):
            config["rope_parameters"] = {kind: parameters_of(one, config) for kind, one in ((FULL, far), (SLIDING, near))}

    return Entry(read, write)


def _transform() -> Entry:
    """The head's activation, where it is not that of the layers; and whether there is a bias for each token."""
    word, act = "output.transform_activation", activation("act", "classifier_activation", default="gelu")

    def read(config: Config, flat: Flat) -> None:
        found: Flat = {}
        act.read(config, found)
        flat[word] = found["act"] if found["act"] != flat["feed_forward.activation"] else None
        flat["output.bias"] = None if truth(config, "decoder_bias", True) else False

    def write(flat: Flat, config: dict[str, Any]) -> None:
        act.write({"act": flat.get(word) or flat.get("feed_forward.activation")}, config)
        config["decoder_bias"] = flat.get("output.bias") is not False

    return Entry(read, write)


POOLED = Head(
    "classification",
    {"pooler_norm": True},
    config=(
        choice("pooling", "classifier_pooling", {"cls": "first", "mean": "mean"}),
        activation("pooler", "classifier_activation", default="gelu"),
        switch("pooler_bias", "classifier_bias", default=False),
    ),
)
PER_TOKEN = (
    activation("transform", "classifier_activation", default="gelu"),
    switch("transform_bias", "classifier_bias", default=False),
)

FAMILY = Family(
    model_type="modernbert",
    tied=True,
    output=("decoder.weight",),
    head_dropout=("classifier_dropout",),
    bare="ModernBertModel",
    classes={
        "ModernBertForMaskedLM": (Head("masked_lm", marker="decoder.bias"),),
        "ModernBertForSequenceClassification": (POOLED,),
        "ModernBertForTokenClassification": (Head("token_classification", {"transform_norm": True}, config=PER_TOKEN),),
        "ModernBertForQuestionAnswering": (Head("question_answering", {"transform_norm": True}, config=PER_TOKEN),),
    },
    config=(
        fixed(kind="encoder", norm__kind="layer_norm", norm__placement="pre", norm__first=False, embedding_norm=True, token_types=0),
        fixed(feed_forward__kind="gated"),
        field("num_layers", "num_hidden_layers"),
        field("hidden_size", "hidden_size"),
        field("num_heads", "num_attention_heads"),
        field("feed_forward.intermediate_size", "intermediate_size"),
        activation("feed_forward.activation", "hidden_activation", default="gelu"),
        number("norm.epsilon", "norm_eps", default=1e-5),
        switch("norm.bias", "norm_bias", default=False),
        attention_bias(default=False),
        switch("feed_forward.bias", "mlp_bias", default=False),
        switch("output.transform_bias", "classifier_bias", default=False),
        _transform(),
        _layers(),
        dropouts("mlp_dropout", "attention_dropout"),
    ),
    weights=WEIGHTS,
)
