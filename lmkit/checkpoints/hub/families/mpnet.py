"""MPNet (Song et al., 2020): RoBERTa's embeddings and heads, with a number for each bucket of distances added to the scores."""

from lmkit.checkpoints.hub.families.bert import LAYERS, PER_TOKEN, output_bias
from lmkit.checkpoints.hub.families.roberta import CHOICES, DENSE_CLASSIFIER, LANGUAGE_HEAD, classes, places
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import fixed, number, only

WEIGHTS = rf"""
prefix: mpnet. |
ignore: embeddings\.position_ids
keep: pooler\.dense\.(weight|bias)
embeddings.word_embeddings = embeddings.token emb alias:/lm_head.decoder.weight
embeddings.position_embeddings = embeddings.position emb
embeddings.LayerNorm = embeddings.norm norm
encoder.relative_attention_bias = encoder.relative emb
encoder.layer.{{i}}.attention.attn.(q|k|v|o) = encoder.layers.{{i}}.attention.(query|key|value|output) lin
encoder.layer.{{i}}.attention.LayerNorm = encoder.layers.{{i}}.attention_norm norm
encoder.layer.{{i}}.intermediate.dense = encoder.layers.{{i}}.feed_forward.up lin
encoder.layer.{{i}}.output.dense = encoder.layers.{{i}}.feed_forward.down lin
encoder.layer.{{i}}.output.LayerNorm = encoder.layers.{{i}}.feed_forward_norm norm
{LANGUAGE_HEAD}
{DENSE_CLASSIFIER}
{CHOICES}
{PER_TOKEN}
"""

FAMILY = Family(
    model_type="mpnet",
    tied=True,
    output=("lm_head.decoder.weight",),
    head_dropout=("hidden_dropout_prob",),
    max_length=(),
    bare="MPNetModel",
    classes=classes("MPNet"),
    config=(
        *LAYERS,
        places(padding=1),
        # The code has 32 buckets up to 128 whatever the config says; only the table's size follows it.
        fixed(position__bias__kind="relative", position__bias__num_buckets=32, position__bias__max_distance=128),
        fixed(token_types=0, output__transform_activation="gelu"),
        only("relative_attention_num_buckets", 32),
        number("norm.epsilon", "layer_norm_eps", default=1e-12),
    ),
    weights=lambda flat: WEIGHTS + output_bias(flat, "lm_head.bias", "lm_head.decoder"),
)
