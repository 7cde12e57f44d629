"""ELECTRA (Clark et al., 2020): BERT's body behind narrow embeddings; generators fill masks, discriminators find replaced tokens."""

from lmkit.checkpoints.hub.families.bert import BODY, EMBEDDINGS, LAYERS, PER_TOKEN
from lmkit.checkpoints.hub.families.roberta import DENSE_CLASSIFIER
from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import Config, Entry, projected
from lmkit.checkpoints.hub.words import Flat

WEIGHTS = rf"""
prefix: electra. |
{BODY.replace("{output}", "generator_lm_head.weight")}
embeddings_project = embeddings.projection lin
/generator_predictions.dense = heads.masked_lm.transform lin
/generator_predictions.LayerNorm = heads.masked_lm.transform_norm norm
/generator_lm_head.bias = heads.masked_lm.bias raw
/generator_lm_head = heads.masked_lm.output lin
/discriminator_predictions.dense = heads.replaced_token.transform lin
/discriminator_predictions.dense_prediction = heads.replaced_token.classifier lin
{DENSE_CLASSIFIER}
{PER_TOKEN}
"""


GENERATOR = "ElectraForMaskedLM"


def _generator() -> Entry:
    """A generator's head has gelu whatever the layers have."""

    def read(config: Config, flat: Flat) -> None:
        if flat["feed_forward.activation"] != "gelu" and GENERATOR in (config.get("architectures") or ()):
            flat["output.transform_activation"] = "gelu"

    return Entry(read, lambda flat, config: None)


FAMILY = Family(
    model_type="electra",
    tied=True,
    output=("generator_lm_head.weight",),
    head_dropout=("classifier_dropout", "hidden_dropout_prob"),
    bare="ElectraModel",
    classes={
        "ElectraForPreTraining": (Head("replaced_token", marker="discriminator_predictions.dense.weight"),),
        GENERATOR: (Head("masked_lm", marker="generator_lm_head.bias"),),
        "ElectraForSequenceClassification": (Head("classification", {"pooler": "gelu"}),),
        "ElectraForTokenClassification": (Head("token_classification"),),
        "ElectraForQuestionAnswering": (Head("question_answering"),),
    },
    config=(*LAYERS, *EMBEDDINGS, projected("embedding_size", default=128), _generator()),
    weights=WEIGHTS,
)
