"""ALBERT (Lan et al., 2020): narrow embeddings, and groups of layers that share their weights."""

from typing import Any

from lmkit.checkpoints.hub.families.bert import EMBEDDINGS, LAYERS, PER_TOKEN, output_bias
from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import Config, Entry, activation, field, whole
from lmkit.checkpoints.hub.words import Flat

BODY = r"""
prefix: albert. |
ignore: embeddings\.position_ids
keep: pooler\.(weight|bias)
embeddings.word_embeddings = embeddings.token emb alias:/predictions.decoder.weight
embeddings.position_embeddings = embeddings.position emb
embeddings.token_type_embeddings = embeddings.token_type emb
embeddings.LayerNorm = embeddings.norm norm
encoder.embedding_hidden_mapping_in = embeddings.projection lin
pooler = heads.sentence_order.pooler lin
pooler = heads.classification.pooler lin
pooler = heads.regression.pooler lin
pooler = heads.multiple_choice.pooler lin
/classifier = heads.multiple_choice.classifier lin
/sop_classifier.classifier = heads.sentence_order.classifier lin
/predictions.dense = heads.masked_lm.transform lin
/predictions.LayerNorm = heads.masked_lm.transform_norm norm
/predictions.decoder = heads.masked_lm.output lin
/classifier = heads.classification.classifier lin
/classifier = heads.regression.classifier lin
"""

LAYER = r"""
{theirs}.attention.(query|key|value|dense) = {ours}.attention.(query|key|value|output) lin
{theirs}.attention.LayerNorm = {ours}.attention_norm norm
{theirs}.ffn = {ours}.feed_forward.up lin
{theirs}.ffn_output = {ours}.feed_forward.down lin
{theirs}.full_layer_layer_norm = {ours}.feed_forward_norm norm
"""


def weights(flat: Flat) -> str:
    """The layers of all groups are numbered through."""
    inner = flat.get("blocks_per_group") or 1
    layers = (
        LAYER.replace("{theirs}", f"encoder.albert_layer_groups.{i // inner}.albert_layers.{i % inner}").replace(
            "{ours}", f"encoder.layers.{i}"
        )
        for i in range((flat.get("layer_groups") or 1) * inner)
    )
    return BODY + PER_TOKEN + output_bias(flat, "predictions.bias", "predictions.decoder") + "".join(layers)


def _depth() -> Entry:
    """Executed blocks: so many layers as the config says, each a whole group's inner ones."""

    def read(config: Config, flat: Flat) -> None:
        inner = whole(config, ("inner_group_num",), 1, least=1)
        flat["num_layers"] = whole(config, ("num_hidden_layers",), 12) * inner
        flat["blocks_per_group"] = inner
        flat["layer_groups"] = whole(config, ("num_hidden_groups",), 1)

    def write(flat: Flat, config: dict[str, Any]) -> None:
        inner = flat.get("blocks_per_group") or 1
        config |= {"num_hidden_layers": flat["num_layers"] // inner, "inner_group_num": inner}
        config["num_hidden_groups"] = flat.get("layer_groups")

    return Entry(read, write)


MASKED, ORDER = Head("masked_lm", marker="predictions.bias"), Head("sentence_order", marker="sop_classifier.classifier.weight")

FAMILY = Family(
    model_type="albert",
    tied=True,
    output=("predictions.decoder.weight",),
    head_dropout=("classifier_dropout_prob",),
    bare="AlbertModel",
    classes={
        "AlbertForMaskedLM": (MASKED,),
        "AlbertForPreTraining": (
            Head("masked_lm", marker="predictions.bias"),
            Head("sentence_order", marker="sop_classifier.classifier.weight"),
        ),
        "AlbertForSequenceClassification": (Head("classification"),),
        "AlbertForMultipleChoice": (Head("multiple_choice"),),
        "AlbertForTokenClassification": (Head("token_classification"),),
        "AlbertForQuestionAnswering": (Head("question_answering"),),
    },
    config=(
        *LAYERS,
        *EMBEDDINGS,
        _depth(),
        activation("feed_forward.activation", "hidden_act", default="gelu_new"),
        field("embedding_size", "embedding_size", default=128),
    ),
    weights=weights,
)
