"""RoBERTa (Liu et al., 2019) and its multilingual and French sisters, XLM-R (Conneau et al., 2020) and CamemBERT."""

from typing import Any

from lmkit.checkpoints.hub.families.bert import BODY, LAYERS, PER_TOKEN, output_bias
from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import Config, Entry, field, fixed, number, whole
from lmkit.checkpoints.hub.words import Flat

LANGUAGE_HEAD = r"""
/lm_head.dense = heads.masked_lm.transform lin
/lm_head.layer_norm = heads.masked_lm.transform_norm norm
/lm_head.decoder = heads.masked_lm.output lin
"""

DENSE_CLASSIFIER = r"""
/classifier.dense = heads.classification.pooler lin
/classifier.dense = heads.regression.pooler lin
/classifier.out_proj = heads.classification.classifier lin
/classifier.out_proj = heads.regression.classifier lin
"""

CHOICES = r"""
pooler.dense = heads.multiple_choice.pooler lin
/classifier = heads.multiple_choice.classifier lin
"""

WEIGHTS = rf"""
prefix: roberta. |
keep: pooler\.dense\.(weight|bias)
{BODY.replace("{output}", "lm_head.decoder.weight")}
{LANGUAGE_HEAD}
{DENSE_CLASSIFIER}
{CHOICES}
{PER_TOKEN}
"""


def weights(flat: Flat) -> str:
    """RoBERTa's table."""
    return WEIGHTS + output_bias(flat, "lm_head.bias", "lm_head.decoder")


def places(padding: int | None = None) -> Entry:
    """Positions that count from behind the row of the padding token, whose number is the config's unless the code has its own."""
    slot = "position.embedding."

    def read(config: Config, flat: Flat) -> None:
        index = whole(config, ("pad_token_id",), 1, least=0) if padding is None else padding
        rows = whole(config, ("max_position_embeddings",), 512, least=index + 2)
        flat |= {slot + "kind": "learned", slot + "ids": "non_padding", slot + "padding_id": index}
        flat |= {slot + "offset": index + 1, slot + "max_length": rows - index - 1}

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config["max_position_embeddings"] = (flat.get(slot + "max_length") or 0) + flat.get(slot + "offset", 0)
        if padding is None:
            config["pad_token_id"] = flat.get(slot + "padding_id")

    return Entry(read, write)


def classes(name: str) -> dict[str, tuple[Head, ...]]:
    """The classes of RoBERTa's style."""
    return {
        f"{name}ForMaskedLM": (Head("masked_lm", marker="lm_head.bias"),),
        f"{name}ForSequenceClassification": (Head("classification"),),
        f"{name}ForMultipleChoice": (Head("multiple_choice"),),
        f"{name}ForTokenClassification": (Head("token_classification"),),
        f"{name}ForQuestionAnswering": (Head("question_answering"),),
    }


def _family(model_type: str, name: str) -> Family:
    return Family(
        model_type=model_type,
        tied=True,
        output=("lm_head.decoder.weight",),
        head_dropout=("classifier_dropout", "hidden_dropout_prob"),
        max_length=(),
        bare=f"{name}Model",
        classes=classes(name),
        config=(
            *LAYERS,
            fixed(output__transform_activation="gelu"),
            places(),
            field("token_types", "type_vocab_size", default=2, least=1),
            number("norm.epsilon", "layer_norm_eps", default=1e-12),
        ),
        weights=weights,
    )


ROBERTA, XLM_ROBERTA, CAMEMBERT = (
    _family(*names) for names in (("roberta", "Roberta"), ("xlm-roberta", "XLMRoberta"), ("camembert", "Camembert"))
)
