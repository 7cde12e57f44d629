"""BERT (Devlin et al., 2018) and what has its class: MiniLM, many sentence encoders."""

import re

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import Entry, activation, dropouts, field, fixed, number, only
from lmkit.checkpoints.hub.words import Flat

BODY = r"""
ignore: embeddings\.position_ids
embeddings.word_embeddings = embeddings.token emb alias:/{output}
embeddings.position_embeddings = embeddings.position emb
embeddings.token_type_embeddings = embeddings.token_type emb
embeddings.LayerNorm = embeddings.norm norm
encoder.layer.{i}.attention.self.(query|key|value) = encoder.layers.{i}.attention.(query|key|value) lin
encoder.layer.{i}.attention.output.dense = encoder.layers.{i}.attention.output lin
encoder.layer.{i}.attention.output.LayerNorm = encoder.layers.{i}.attention_norm norm
encoder.layer.{i}.intermediate.dense = encoder.layers.{i}.feed_forward.up lin
encoder.layer.{i}.output.dense = encoder.layers.{i}.feed_forward.down lin
encoder.layer.{i}.output.LayerNorm = encoder.layers.{i}.feed_forward_norm norm
"""

PER_TOKEN = r"""
/classifier = heads.token_classification.classifier lin
/qa_outputs = heads.question_answering.span lin
"""

WEIGHTS = rf"""
prefix: bert. |
keep: pooler\.dense\.(weight|bias)
{BODY.replace("{output}", "cls.predictions.decoder.weight")}
pooler.dense = heads.next_sentence.pooler lin
pooler.dense = heads.classification.pooler lin
pooler.dense = heads.regression.pooler lin
pooler.dense = heads.multiple_choice.pooler lin
/cls.seq_relationship = heads.next_sentence.classifier lin
/cls.predictions.transform.dense = heads.masked_lm.transform lin
/cls.predictions.transform.LayerNorm = heads.masked_lm.transform_norm norm
/cls.predictions.decoder = heads.masked_lm.output lin
/classifier = heads.classification.classifier lin
/classifier = heads.regression.classifier lin
/classifier = heads.multiple_choice.classifier lin
{PER_TOKEN}
"""


def output_bias(flat: Flat, bias: str, layer: str) -> str:
    """The bias of a masked-LM head has two names; where the layer is not tied, its own is the one that counts."""
    if flat.get("tie_embeddings", True):
        return f"/{bias} = heads.masked_lm.bias raw alias:/{layer}.bias\n"
    return f"/{layer}.bias = heads.masked_lm.bias raw or:/{bias}\nkeep: {re.escape(bias)}\n"


def weights(flat: Flat) -> str:
    """BERT's table."""
    return WEIGHTS + output_bias(flat, "cls.predictions.bias", "cls.predictions.decoder")


LAYERS: tuple[Entry, ...] = (
    fixed(kind="encoder", norm__kind="layer_norm", norm__placement="post", feed_forward__kind="dense"),
    field("num_layers", "num_hidden_layers"),
    field("hidden_size", "hidden_size"),
    field("num_heads", "num_attention_heads"),
    field("feed_forward.intermediate_size", "intermediate_size"),
    activation("feed_forward.activation", "hidden_act", default="gelu"),
    dropouts("hidden_dropout_prob", "attention_probs_dropout_prob"),
    only("position_embedding_type", "absolute"),
    only("is_decoder", False),
    only("add_cross_attention", False),
)

EMBEDDINGS: tuple[Entry, ...] = (
    fixed(position__embedding__kind="learned"),
    field("position.embedding.max_length", "max_position_embeddings", default=512),
    field("token_types", "type_vocab_size", default=2, least=1),
    number("norm.epsilon", "layer_norm_eps", default=1e-12),
)

MASKED, NEXT = Head("masked_lm", marker="cls.predictions.bias"), Head("next_sentence", marker="cls.seq_relationship.weight")

FAMILY = Family(
    model_type="bert",
    tied=True,
    output=("cls.predictions.decoder.weight",),
    head_dropout=("classifier_dropout", "hidden_dropout_prob"),
    bare="BertModel",
    classes={
        "BertForMaskedLM": (MASKED,),
        "BertForPreTraining": (MASKED, NEXT),
        "BertForNextSentencePrediction": (NEXT,),
        "BertForSequenceClassification": (Head("classification"),),
        "BertForMultipleChoice": (Head("multiple_choice"),),
        "BertForTokenClassification": (Head("token_classification"),),
        "BertForQuestionAnswering": (Head("question_answering"),),
    },
    config=(*LAYERS, *EMBEDDINGS),
    weights=weights,
)
