"""GPT-NeoX and Pythia (Black et al., 2022): the parts side by side, each behind its own norm, a share of the channels rotated."""

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import activation, attention_bias, dropouts, field, fixed, flag, number
from lmkit.checkpoints.hub.rope import rope

WEIGHTS = r"""
prefix: gpt_neox. |
ignore: layers\.[0-9]+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)
embed_in = embeddings.token emb alias:/embed_out.weight
layers.{i}.input_layernorm = decoder.layers.{i}.attention_norm norm
layers.{i}.attention.query_key_value = decoder.layers.{i}.attention.{query,key,value} lin fuse:per_head
layers.{i}.attention.dense = decoder.layers.{i}.attention.output lin
layers.{i}.post_attention_layernorm = decoder.layers.{i}.feed_forward_norm norm
layers.{i}.mlp.dense_h_to_4h = decoder.layers.{i}.feed_forward.up lin
layers.{i}.mlp.dense_4h_to_h = decoder.layers.{i}.feed_forward.down lin
final_layer_norm = decoder.norm norm
/embed_out = heads.causal_lm.output lin
/score = heads.classification.classifier lin
/score = heads.regression.classifier lin
/classifier = heads.token_classification.classifier lin
/qa_outputs = heads.question_answering.span lin
"""

FAMILY = Family(
    model_type="gpt_neox",
    output=("embed_out.weight",),
    head_dropout=("classifier_dropout",),
    bare="GPTNeoXModel",
    classes={
        "GPTNeoXForCausalLM": (Head("causal_lm", marker="embed_out.weight"),),
        "GPTNeoXForSequenceClassification": (Head("classification", {"pooling": "last", "classifier_bias": False}),),
        "GPTNeoXForTokenClassification": (Head("token_classification"),),
        "GPTNeoXForQuestionAnswering": (Head("question_answering"),),
    },
    config=(
        fixed(kind="decoder", norm__kind="layer_norm", norm__placement="pre", feed_forward__kind="dense"),
        field("num_layers", "num_hidden_layers"),
        field("hidden_size", "hidden_size"),
        field("num_heads", "num_attention_heads"),
        field("feed_forward.intermediate_size", "intermediate_size", default=None),
        activation("feed_forward.activation", "hidden_act", default="gelu"),
        number("norm.epsilon", "layer_norm_eps", default=1e-5),
        flag("use_parallel_residual", {True: {"parallel": "own_norms"}, False: {"parallel": "none"}}, default=True),
        attention_bias(default=True),
        rope(fraction=0.25, base_key="rotary_emb_base", fraction_key="rotary_pct"),
        dropouts("hidden_dropout", "attention_dropout"),
    ),
    weights=WEIGHTS,
)
