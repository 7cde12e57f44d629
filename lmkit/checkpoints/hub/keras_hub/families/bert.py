"""keras-hub's BERT: GELU by tanh in the layers, by erf in the masked-LM head, whose norm has an epsilon of its own."""

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import choice, dropouts, field, fixed, only, switch

HEADER = r"""
prefix: model.weights.h5/
joint: /vars/
ignore: .*/seed_generator/vars/[0-9]+
layers/reversible_embedding = embeddings.token rows
layers/position_embedding = embeddings.position rows
"""
LAYER = r"""
layers/{layer}{_i}/_self_attention_layer/(query|key|value)_dense = {side}.layers.{i}.attention.(query|key|value) split
layers/{layer}{_i}/_self_attention_layer/output_dense = {side}.layers.{i}.attention.output merged
layers/{layer}{_i}/_self_attention_layer_norm = {side}.layers.{i}.attention_norm affine
layers/{layer}{_i}/_feedforward_intermediate_dense = {side}.layers.{i}.feed_forward.up dense
layers/{layer}{_i}/_feedforward_output_dense = {side}.layers.{i}.feed_forward.down dense
layers/{layer}{_i}/_feedforward_layer_norm = {side}.layers.{i}.feed_forward_norm affine
"""


def layer(name: str, side: str) -> str:
    """The lines of a block of either kind; their classes differ in name alone."""
    return LAYER.replace("{layer}", name).replace("{side}", side)


WEIGHTS = rf"""
{HEADER}
keep: layers/dense/vars/[01]
layers/embedding = embeddings.token_type rows
layers/layer_normalization = embeddings.norm affine
{layer("transformer_encoder", "encoder")}
layers/dense = heads.classification.pooler dense
layers/dense = heads.regression.pooler dense
/task.weights.h5/layers/dense = heads.classification.classifier dense
/task.weights.h5/layers/dense = heads.regression.classifier dense
/task.weights.h5/layers/masked_lm_head/_intermediate_dense = heads.masked_lm.transform dense
/task.weights.h5/layers/masked_lm_head/_intermediate_layer_norm = heads.masked_lm.transform_norm affine
/task.weights.h5/layers/masked_lm_head/vars/0 = heads.masked_lm.bias raw
"""

SIZES = (
    field("num_layers", "num_layers"),
    field("hidden_size", "hidden_dim"),
    field("num_heads", "num_heads"),
    field("feed_forward.intermediate_size", "intermediate_dim"),
    dropouts("dropout", "dropout"),
)

EMBEDDED = (
    choice("pooling", "task.pooling_mode", {"mean": "mean", "cls": "first"}),
    switch("normalize", "task.normalize", True),
)

FAMILY = Family(
    model_type="BertBackbone",
    bare="BertBackbone",
    tied=True,
    output=(),
    head_dropout=("task.dropout",),
    max_length=("max_sequence_length",),
    vocabulary=("vocabulary_size",),
    classes={
        "BertMaskedLM": (Head("masked_lm"),),
        "BertTextClassifier": (Head("classification", config=(only("task.activation", "linear", write=True),)),),
        "BertTextEmbedder": (Head("sentence_embedding", config=EMBEDDED),),
    },
    config=(
        fixed(kind="encoder", norm__kind="layer_norm", norm__placement="post", norm__epsilon=1e-12, tie_embeddings=True),
        fixed(feed_forward__kind="dense", feed_forward__activation="gelu_tanh", position__embedding__kind="learned"),
        fixed(output__transform_activation="gelu", output__transform_epsilon=1e-5),
        *SIZES,
        field("position.embedding.max_length", "max_sequence_length", default=512),
        field("token_types", "num_segments", default=2, least=1),
    ),
    weights=WEIGHTS,
)
