"""GPT-2 (Radford et al., 2019)."""

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import activation, dropouts, field, fixed, number, only, switch

WEIGHTS = r"""
prefix: transformer. |
ignore: h\.[0-9]+\.attn\.(bias|masked_bias)
wte = embeddings.token emb alias:/lm_head.weight
wpe = embeddings.position emb
h.{i}.ln_1 = decoder.layers.{i}.attention_norm norm
h.{i}.attn.c_attn = decoder.layers.{i}.attention.{query,key,value} conv1d fuse:concat
h.{i}.attn.c_proj = decoder.layers.{i}.attention.output conv1d
h.{i}.ln_2 = decoder.layers.{i}.feed_forward_norm norm
h.{i}.mlp.c_fc = decoder.layers.{i}.feed_forward.up conv1d
h.{i}.mlp.c_proj = decoder.layers.{i}.feed_forward.down conv1d
ln_f = decoder.norm norm
/lm_head = heads.causal_lm.output lin
/score = heads.classification.classifier lin
/score = heads.regression.classifier lin
"""

FAMILY = Family(
    model_type="gpt2",
    tied=True,
    max_length=("n_positions", "n_ctx"),
    bare="GPT2Model",
    classes={
        "GPT2LMHeadModel": (Head("causal_lm", marker="lm_head.weight"),),
        "GPT2ForSequenceClassification": (Head("classification", {"pooling": "last", "classifier_bias": False}),),
    },
    config=(
        fixed(kind="decoder", norm__kind="layer_norm", norm__placement="pre", feed_forward__kind="dense"),
        fixed(position__embedding__kind="learned"),
        field("num_layers", "n_layer"),
        field("hidden_size", "n_embd"),
        field("num_heads", "n_head"),
        field("feed_forward.intermediate_size", "n_inner", default=None),
        activation("feed_forward.activation", "activation_function", default="gelu_new"),
        field("position.embedding.max_length", "n_positions", default=1024),
        number("norm.epsilon", "layer_norm_epsilon", default=1e-5),
        switch("attention.scale_by_layer", "scale_attn_by_inverse_layer_idx", default=False),
        dropouts("resid_pdrop", "attn_pdrop"),
        only("scale_attn_weights", True),
        only("add_cross_attention", False),
    ),
    weights=WEIGHTS,
)
