"""GPT-J (Wang and Komatsuzaki, 2021): attention and feed-forward part side by side behind one norm, neighbouring channels rotated."""

from typing import Any

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import Config, Entry, activation, biases, dropouts, field, fixed, number, whole
from lmkit.checkpoints.hub.rope import ROTATION
from lmkit.checkpoints.hub.words import Flat

WEIGHTS = r"""
prefix: transformer. |
ignore: h\.[0-9]+\.attn\.(bias|masked_bias|embed_positions)
wte = embeddings.token emb alias:/lm_head.weight
h.{i}.ln_1 = decoder.layers.{i}.attention_norm norm
h.{i}.attn.(q|k|v|out)_proj = decoder.layers.{i}.attention.(query|key|value|output) lin
h.{i}.mlp.fc_in = decoder.layers.{i}.feed_forward.up lin
h.{i}.mlp.fc_out = decoder.layers.{i}.feed_forward.down lin
ln_f = decoder.norm norm
/lm_head = heads.causal_lm.output lin
/lm_head.bias = heads.causal_lm.bias raw
/score = heads.classification.classifier lin
/score = heads.regression.classifier lin
/qa_outputs = heads.question_answering.span lin
"""


def _rotation() -> Entry:
    def read(config: Config, flat: Flat) -> None:
        head_dim = flat["hidden_size"] // flat["num_heads"]
        fraction = (whole({"rotary_dim": 64, **config}, ("rotary_dim",), head_dim) or head_dim) / head_dim
        words = {"kind": "rotary", "base": 10000.0, "fraction": fraction, "layout": "interleaved"}
        flat.update({ROTATION + key: value for key, value in words.items()})

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config["rotary_dim"] = round(flat.get(ROTATION + "fraction", 0) * flat["head_dim"])

    return Entry(read, write)


FAMILY = Family(
    model_type="gptj",
    max_length=("n_positions",),
    bare="GPTJModel",
    classes={
        "GPTJForCausalLM": (Head("causal_lm", marker="lm_head.bias"),),
        "GPTJForSequenceClassification": (Head("classification", {"pooling": "last", "classifier_bias": False}),),
        "GPTJForQuestionAnswering": (Head("question_answering"),),
    },
    config=(
        fixed(kind="decoder", norm__kind="layer_norm", norm__placement="pre", feed_forward__kind="dense", parallel="shared_norm"),
        fixed(output__bias=True),
        biases(),
        field("num_layers", "n_layer"),
        field("hidden_size", "n_embd"),
        field("num_heads", "n_head"),
        field("feed_forward.intermediate_size", "n_inner", default=None),
        activation("feed_forward.activation", "activation_function", default="gelu_new"),
        number("norm.epsilon", "layer_norm_epsilon", default=1e-5),
        dropouts("resid_pdrop", "attn_pdrop"),
        _rotation(),
    ),
    weights=WEIGHTS,
)
