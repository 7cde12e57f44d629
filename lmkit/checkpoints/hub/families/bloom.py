"""BLOOM (BigScience, 2022): ALiBi instead of positions, and a norm after the embeddings."""

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import dropouts, field, fixed, flag, number

WEIGHTS = r"""
prefix: transformer. |
word_embeddings = embeddings.token emb alias:/lm_head.weight
word_embeddings_layernorm = embeddings.norm norm
h.{i}.input_layernorm = decoder.layers.{i}.attention_norm norm
h.{i}.self_attention.query_key_value = decoder.layers.{i}.attention.{query,key,value} lin fuse:per_head
h.{i}.self_attention.dense = decoder.layers.{i}.attention.output lin
h.{i}.post_attention_layernorm = decoder.layers.{i}.feed_forward_norm norm
h.{i}.mlp.dense_h_to_4h = decoder.layers.{i}.feed_forward.up lin
h.{i}.mlp.dense_4h_to_h = decoder.layers.{i}.feed_forward.down lin
ln_f = decoder.norm norm
/lm_head = heads.causal_lm.output lin
/score = heads.classification.classifier lin
/score = heads.regression.classifier lin
/classifier = heads.token_classification.classifier lin
/qa_outputs = heads.question_answering.span lin
"""

FAMILY = Family(
    model_type="bloom",
    tied=True,
    max_length=("seq_length",),
    head_dropout=("classifier_dropout", "hidden_dropout"),
    bare="BloomModel",
    classes={
        "BloomForCausalLM": (Head("causal_lm", marker="lm_head.weight"),),
        "BloomForSequenceClassification": (Head("classification", {"pooling": "last", "classifier_bias": False}),),
        "BloomForTokenClassification": (Head("token_classification"),),
        "BloomForQuestionAnswering": (Head("question_answering"),),
    },
    config=(
        fixed(kind="decoder", norm__kind="layer_norm", norm__placement="pre", embedding_norm=True),
        fixed(feed_forward__kind="dense", feed_forward__activation="gelu_tanh", position__bias__kind="alibi"),
        field("num_layers", "n_layer", "num_hidden_layers"),
        field("hidden_size", "hidden_size", "n_embed"),
        field("num_heads", "n_head", "num_attention_heads"),
        number("norm.epsilon", "layer_norm_epsilon", default=1e-5),
        flag("apply_residual_connection_post_layernorm", {True: {"residual": "norm"}, False: {"residual": "stream"}}, default=False),
        dropouts("hidden_dropout", "attention_dropout"),
    ),
    weights=WEIGHTS,
)
