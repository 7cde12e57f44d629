"""GPT-Neo (EleutherAI, 2021): a GPT-2 whose layers see everything and a window in turn, and whose scores are not scaled."""

from typing import Any

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import Config, Entry, activation, biases, dropouts, field, fixed, number, refuse, several, whole
from lmkit.checkpoints.hub.words import Flat, each_layer

WEIGHTS = r"""
prefix: transformer. |
ignore: h\.[0-9]+\.attn\.attention\.(bias|masked_bias)
wte = embeddings.token emb alias:/lm_head.weight
wpe = embeddings.position emb
h.{i}.ln_1 = decoder.layers.{i}.attention_norm norm
h.{i}.attn.attention.(q|k|v|out)_proj = decoder.layers.{i}.attention.(query|key|value|output) lin
h.{i}.ln_2 = decoder.layers.{i}.feed_forward_norm norm
h.{i}.mlp.c_fc = decoder.layers.{i}.feed_forward.up lin
h.{i}.mlp.c_proj = decoder.layers.{i}.feed_forward.down lin
ln_f = decoder.norm norm
/lm_head = heads.causal_lm.output lin
/score = heads.classification.classifier lin
/score = heads.regression.classifier lin
/classifier = heads.token_classification.classifier lin
/qa_outputs = heads.question_answering.span lin
"""


def _windows() -> Entry:
    def read(config: Config, flat: Flat) -> None:
        types = several(config, "attention_types", [[["global", "local"], 12]])
        kinds = several(config, "attention_layers", None) or [kind for pattern, times in types for kind in pattern * times]
        if len(kinds) != flat["num_layers"] or set(kinds) - {"global", "local"}:
            raise refuse(f"attention_layers: {len(kinds)} entries of global and local for {flat['num_layers']} layers")
        size = whole(config, ("window_size",), 256)
        flat["attention.window"] = tuple("full" if kind == "global" else size for kind in kinds)

    def write(flat: Flat, config: dict[str, Any]) -> None:
        sizes = each_layer(flat, "attention.window")
        kinds = ["global" if size == "full" else "local" for size in sizes]
        config["attention_layers"] = kinds
        config["attention_types"] = [[kinds, 1]]
        config["window_size"] = next((size for size in sizes if size != "full"), 256)

    return Entry(read, write)


FAMILY = Family(
    model_type="gpt_neo",
    tied=True,
    bare="GPTNeoModel",
    classes={
        "GPTNeoForCausalLM": (Head("causal_lm", marker="lm_head.weight"),),
        "GPTNeoForSequenceClassification": (Head("classification", {"pooling": "last", "classifier_bias": False}),),
        "GPTNeoForTokenClassification": (Head("token_classification"),),
        "GPTNeoForQuestionAnswering": (Head("question_answering"),),
    },
    config=(
        fixed(kind="decoder", norm__kind="layer_norm", norm__placement="pre", feed_forward__kind="dense", attention__scale=1.0),
        fixed(position__embedding__kind="learned"),
        biases("output"),
        field("num_layers", "num_layers"),
        field("hidden_size", "hidden_size"),
        field("num_heads", "num_heads"),
        field("feed_forward.intermediate_size", "intermediate_size", default=None),
        activation("feed_forward.activation", "activation_function", default="gelu_new"),
        field("position.embedding.max_length", "max_position_embeddings", default=2048),
        number("norm.epsilon", "layer_norm_epsilon", default=1e-5),
        dropouts("resid_dropout", "attention_dropout"),
        _windows(),
    ),
    weights=WEIGHTS,
)
