"""OPT (Zhang et al., 2022): two rows of the position table stand before the first; the 350M one has post norms and a projection."""

from typing import Any

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import Config, Entry, activation, attention_bias, dropouts, field, fixed, only, projected, switch, truth
from lmkit.checkpoints.hub.words import Flat

WEIGHTS = r"""
prefix: model.decoder. | decoder. |
embed_tokens = embeddings.token emb alias:/lm_head.weight
embed_positions = embeddings.position emb
project_in = embeddings.projection lin
project_out = heads.causal_lm.projection lin
layers.{i}.self_attn.(q|k|v|out)_proj = decoder.layers.{i}.attention.(query|key|value|output) lin
layers.{i}.self_attn_layer_norm = decoder.layers.{i}.attention_norm norm
layers.{i}.fc1 = decoder.layers.{i}.feed_forward.up lin
layers.{i}.fc2 = decoder.layers.{i}.feed_forward.down lin
layers.{i}.final_layer_norm = decoder.layers.{i}.feed_forward_norm norm
final_layer_norm = decoder.norm norm
/lm_head = heads.causal_lm.output lin
/score = heads.classification.classifier lin
/score = heads.regression.classifier lin
/qa_outputs = heads.question_answering.span lin
"""


def _norms() -> Entry:
    def read(config: Config, flat: Flat) -> None:
        before = truth(config, "do_layer_norm_before", True)
        flat["norm.placement"] = "pre" if before else "post"
        flat["final_norm"] = before and not truth(config, "_remove_final_layer_norm", False)

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config["do_layer_norm_before"] = flat["norm.placement"] == "pre"
        config["_remove_final_layer_norm"] = config["do_layer_norm_before"] and not flat["final_norm"]

    return Entry(read, write)


FAMILY = Family(
    model_type="opt",
    tied=True,
    bare="OPTModel",
    classes={
        "OPTForCausalLM": (Head("causal_lm", marker="lm_head.weight"),),
        "OPTForSequenceClassification": (Head("classification", {"pooling": "last", "classifier_bias": False}),),
        "OPTForQuestionAnswering": (Head("question_answering"),),
    },
    config=(
        fixed(kind="decoder", norm__kind="layer_norm", norm__epsilon=1e-5, feed_forward__kind="dense", embedding_norm=False),
        fixed(position__embedding__kind="learned", position__embedding__offset=2),
        field("num_layers", "num_hidden_layers"),
        field("hidden_size", "hidden_size"),
        field("num_heads", "num_attention_heads"),
        field("feed_forward.intermediate_size", "ffn_dim"),
        projected("word_embed_proj_dim"),
        activation("feed_forward.activation", "activation_function", default="relu"),
        field("position.embedding.max_length", "max_position_embeddings", default=2048),
        attention_bias("enable_bias", default=True),
        switch("feed_forward.bias", "enable_bias", default=True),
        only("layer_norm_elementwise_affine", True),
        dropouts("dropout", "attention_dropout"),
        _norms(),
    ),
    weights=WEIGHTS,
)
