"""DistilBERT (Sanh et al., 2019): BERT with half the layers, without token types and pooler."""

from lmkit.checkpoints.hub.families.bert import PER_TOKEN
from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import activation, dropouts, field, fixed

WEIGHTS = rf"""
prefix: distilbert. |
ignore: embeddings\.position_ids
embeddings.word_embeddings = embeddings.token emb alias:/vocab_projector.weight
embeddings.position_embeddings = embeddings.position emb
embeddings.LayerNorm = embeddings.norm norm
transformer.layer.{{i}}.attention.(q|k|v|out)_lin = encoder.layers.{{i}}.attention.(query|key|value|output) lin
transformer.layer.{{i}}.sa_layer_norm = encoder.layers.{{i}}.attention_norm norm
transformer.layer.{{i}}.ffn.lin(1|2) = encoder.layers.{{i}}.feed_forward.(up|down) lin
transformer.layer.{{i}}.output_layer_norm = encoder.layers.{{i}}.feed_forward_norm norm
/vocab_transform = heads.masked_lm.transform lin
/vocab_layer_norm = heads.masked_lm.transform_norm norm
/vocab_projector.bias = heads.masked_lm.bias raw
/vocab_projector = heads.masked_lm.output lin
/pre_classifier = heads.classification.pooler lin
/pre_classifier = heads.regression.pooler lin
/pre_classifier = heads.multiple_choice.pooler lin
/classifier = heads.multiple_choice.classifier lin
/classifier = heads.classification.classifier lin
/classifier = heads.regression.classifier lin
{PER_TOKEN}
"""

FAMILY = Family(
    model_type="distilbert",
    tied=True,
    output=("vocab_projector.weight",),
    head_dropout=("seq_classif_dropout",),
    bare="DistilBertModel",
    classes={
        "DistilBertForMaskedLM": (Head("masked_lm", marker="vocab_projector.bias"),),
        "DistilBertForSequenceClassification": (Head("classification", {"pooler": "relu"}),),
        "DistilBertForMultipleChoice": (Head("multiple_choice", {"pooler": "relu"}),),
        "DistilBertForTokenClassification": (Head("token_classification"),),
        "DistilBertForQuestionAnswering": (Head("question_answering"),),
    },
    config=(
        fixed(kind="encoder", norm__kind="layer_norm", norm__placement="post", norm__epsilon=1e-12, feed_forward__kind="dense"),
        fixed(position__embedding__kind="learned", token_types=0),
        field("num_layers", "n_layers"),
        field("hidden_size", "dim"),
        field("num_heads", "n_heads"),
        field("feed_forward.intermediate_size", "hidden_dim"),
        activation("feed_forward.activation", "activation", default="gelu"),
        field("position.embedding.max_length", "max_position_embeddings", default=512),
        dropouts("dropout", "attention_dropout"),
    ),
    weights=WEIGHTS,
)
