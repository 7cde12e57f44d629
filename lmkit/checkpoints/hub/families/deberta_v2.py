"""DeBERTa 2 and 3 (He et al., 2021): BERT whose attention scores contents and distances apart."""

from typing import Any

from lmkit.checkpoints.hub.families.bert import LAYERS, PER_TOKEN, output_bias
from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import Config, Entry, activation, field, number, only, refuse, several, truth, value_of, whole, wrong
from lmkit.checkpoints.hub.words import Flat

WEIGHTS = r"""
prefix: deberta. |
ignore: embeddings\.position_ids
keep: (mask_predictions|lm_predictions)\..*
embeddings.word_embeddings = embeddings.token emb alias:/cls.predictions.decoder.weight
embeddings.position_embeddings = embeddings.position emb
embeddings.token_type_embeddings = embeddings.token_type emb
embeddings.LayerNorm = embeddings.norm norm
encoder.rel_embeddings = encoder.distance emb
encoder.LayerNorm = encoder.distance.norm norm
encoder.conv.conv = encoder.convolution lin
encoder.conv.LayerNorm = encoder.convolution.norm norm
encoder.layer.{i}.attention.self.(query|key|value)_proj = encoder.layers.{i}.attention.(query|key|value) lin
encoder.layer.{i}.attention.self.pos_(query|key)_proj = encoder.layers.{i}.attention.distance.(query|key) lin
encoder.layer.{i}.attention.output.dense = encoder.layers.{i}.attention.output lin
encoder.layer.{i}.attention.output.LayerNorm = encoder.layers.{i}.attention_norm norm
encoder.layer.{i}.intermediate.dense = encoder.layers.{i}.feed_forward.up lin
encoder.layer.{i}.output.dense = encoder.layers.{i}.feed_forward.down lin
encoder.layer.{i}.output.LayerNorm = encoder.layers.{i}.feed_forward_norm norm
/cls.predictions.transform.dense = heads.masked_lm.transform lin or:/lm_predictions.lm_head.dense
/cls.predictions.transform.LayerNorm = heads.masked_lm.transform_norm norm or:/lm_predictions.lm_head.LayerNorm
/cls.predictions.decoder = heads.masked_lm.output lin
/pooler.dense = heads.classification.pooler lin
/pooler.dense = heads.regression.pooler lin
/classifier = heads.classification.classifier lin
/classifier = heads.regression.classifier lin
"""

BIAS = "position.bias."


def weights(flat: Flat) -> str:
    """The head that fills masks has two spellings, `legacy` in the config or not."""
    bias = output_bias(flat, "cls.predictions.bias", "cls.predictions.decoder")
    return WEIGHTS + PER_TOKEN + bias.replace(" raw ", " raw or:/lm_predictions.lm_head.bias ")


def _listed(config: Config, key: str) -> list[str]:
    value = value_of(config, (key,), [])
    return [part.strip() for part in value.lower().split("|")] if isinstance(value, str) else list(several(config, key, []))


def _distances() -> Entry:
    """Positions by their distance, beside or in place of learned ones."""

    def read(config: Config, flat: Flat) -> None:
        rows = whole(config, ("max_position_embeddings",), 512)
        if truth(config, "position_biased_input", True):
            flat |= {"position.embedding.kind": "learned", "position.embedding.max_length": rows}
        if whole(config, ("embedding_size",), flat["hidden_size"]) != flat["hidden_size"]:
            raise refuse("embedding_size: other than hidden_size is not supported")
        kinds = _listed(config, "pos_att_type")
        if not truth(config, "relative_attention", False) or not kinds:
            return
        if not {"c2p", "p2c"} & set(kinds):
            raise wrong(config, ("pos_att_type",), "c2p, p2c or both")
        longest, buckets = (whole(config, (key,), -1) for key in ("max_relative_positions", "position_buckets"))
        flat |= {BIAS + "kind": "disentangled", BIAS + "max_distance": longest if longest > 0 else rows}
        flat |= {BIAS + "buckets": buckets if buckets > 0 else None, BIAS + "share_key": truth(config, "share_att_key", False)}
        flat |= {BIAS + "content_to_position": "c2p" in kinds, BIAS + "position_to_content": "p2c" in kinds}
        flat[BIAS + "norm"] = "layer_norm" in _listed(config, "norm_rel_ebd")

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config["position_biased_input"] = "position.embedding.kind" in flat
        if "position.embedding.max_length" in flat:
            config["max_position_embeddings"] = flat["position.embedding.max_length"]
        if flat.get(BIAS + "kind") != "disentangled":
            raise refuse("relative_attention: without it the model is a BERT")
        config["relative_attention"] = True
        config |= {"max_relative_positions": flat[BIAS + "max_distance"], "position_buckets": flat[BIAS + "buckets"] or -1}
        kinds = {"c2p": flat[BIAS + "content_to_position"], "p2c": flat[BIAS + "position_to_content"]}
        config |= {"share_att_key": flat[BIAS + "share_key"], "pos_att_type": [kind for kind, on in kinds.items() if on]}
        config["norm_rel_ebd"] = "layer_norm" if flat[BIAS + "norm"] else "none"

    return Entry(read, write)


def _convolution() -> Entry:
    """The convolution beside the first layer, of the largest models."""
    act = activation("convolution.activation", "conv_act", default="tanh")

    def read(config: Config, flat: Flat) -> None:
        size = whole(config, ("conv_kernel_size",), 0)
        if size > 0:
            flat["convolution.kernel_size"] = size
            act.read(config, flat)

    def write(flat: Flat, config: dict[str, Any]) -> None:
        if "convolution.kernel_size" in flat:
            config["conv_kernel_size"] = flat["convolution.kernel_size"]
            act.write(flat, config)

    return Entry(read, write)


FAMILY = Family(
    model_type="deberta-v2",
    tied=True,
    output=("cls.predictions.decoder.weight",),
    head_dropout=("cls_dropout", "hidden_dropout_prob"),
    bare="DebertaV2Model",
    classes={
        "DebertaV2ForMaskedLM": (Head("masked_lm", marker="cls.predictions.bias"),),
        "DebertaV2ForSequenceClassification": (
            Head("classification", config=(activation("pooler", "pooler_hidden_act", default="gelu"),)),
        ),
        "DebertaV2ForTokenClassification": (Head("token_classification"),),
        "DebertaV2ForQuestionAnswering": (Head("question_answering"),),
    },
    config=(
        *LAYERS,
        field("token_types", "type_vocab_size", default=0, least=0),
        number("norm.epsilon", "layer_norm_eps", default=1e-7),
        _distances(),
        _convolution(),
        only("conv_groups", 1),
        only("attention_head_size", None),
    ),
    weights=weights,
)
