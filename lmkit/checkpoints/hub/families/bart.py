"""BART (Lewis et al., 2020), mBART, PEGASUS and Marian: one frame, with other norms and positions."""

import math
from typing import Any

import numpy as np

from lmkit.checkpoints.hub.family import Computed, Family, Head
from lmkit.checkpoints.hub.fields import Config, Entry, activation, dropouts, field, fixed, refuse, truth, whole, written
from lmkit.checkpoints.hub.words import Flat, said

FRAME = r"""
prefix: model. |
ignore: (encoder|decoder)\.version
shared = embeddings.token emb alias:encoder.embed_tokens.weight alias:decoder.embed_tokens.weight alias:/lm_head.weight
(encoder|decoder).layers.{i}.self_attn.(q|k|v|out)_proj = (encoder|decoder).layers.{i}.attention.(query|key|value|output) lin
(encoder|decoder).layers.{i}.self_attn_layer_norm = (encoder|decoder).layers.{i}.attention_norm norm
decoder.layers.{i}.encoder_attn.(q|k|v|out)_proj = decoder.layers.{i}.cross_attention.(query|key|value|output) lin
decoder.layers.{i}.encoder_attn_layer_norm = decoder.layers.{i}.cross_attention_norm norm
(encoder|decoder).layers.{i}.fc1 = (encoder|decoder).layers.{i}.feed_forward.up lin
(encoder|decoder).layers.{i}.fc2 = (encoder|decoder).layers.{i}.feed_forward.down lin
(encoder|decoder).layers.{i}.final_layer_norm = (encoder|decoder).layers.{i}.feed_forward_norm norm
/final_logits_bias = heads.seq2seq.bias row
/lm_head = heads.seq2seq.output lin
/classification_head.dense = heads.classification.pooler lin
/classification_head.out_proj = heads.classification.classifier lin
/classification_head.dense = heads.regression.pooler lin
/classification_head.out_proj = heads.regression.classifier lin
/qa_outputs = heads.question_answering.span lin
"""
LEARNED = "(encoder|decoder).embed_positions = (encoder|decoder).embeddings.position emb\n"
EMBEDDING_NORM = "(encoder|decoder).layernorm_embedding = (encoder|decoder).embeddings.norm norm\n"
APART = "(encoder|decoder).embed_tokens = (encoder|decoder).embeddings.token emb alias:/lm_head.weight\n"
SINES = r"keep: (encoder|decoder)\.embed_positions\.weight" + "\n"
FINAL_NORM = "(encoder|decoder).layer_norm = (encoder|decoder).norm norm\n"


def _sides() -> Entry:
    """Depth, heads and inner width of each side."""
    keys = {"num_layers": "layers", "num_heads": "attention_heads", "feed_forward.intermediate_size": "ffn_dim"}

    def read(config: Config, flat: Flat) -> None:
        for side in ("encoder", "decoder"):
            flat |= {f"{side}.{word}": whole(config, (f"{side}_{key}",)) for word, key in keys.items()}
            flat |= {f"{side}.feed_forward.kind": "dense", f"{side}.feed_forward.activation": flat["feed_forward.activation"]}
        flat["num_heads"] = flat["encoder.num_heads"]

    def write(flat: Flat, config: dict[str, Any]) -> None:
        for side in ("encoder", "decoder"):
            config |= {f"{side}_{key}": said(flat, f"{side}.{word}") for word, key in keys.items()}

    return Entry(read, write)


def _scale() -> Entry:
    def read(config: Config, flat: Flat) -> None:
        flat["embedding_scale"] = "sqrt_hidden" if truth(config, "scale_embedding", False) else None

    def write(flat: Flat, config: dict[str, Any]) -> None:
        scale, width = said(flat, "embedding_scale") or 1.0, said(flat, "hidden_size") or 1
        config["scale_embedding"] = math.isclose(scale, width**0.5)

    return Entry(read, write)


def _tables_apart() -> Entry:
    """Whether both sides read one table of tokens; two have the same tokens here, as the model has one vocabulary."""
    shared, tied = "share_encoder_decoder_embeddings", "tie_word_embeddings"

    def read(config: Config, flat: Flat) -> None:
        if config.get("decoder_vocab_size") not in (None, config.get("vocab_size")):
            raise refuse("decoder_vocab_size: a vocabulary for each side is not supported; lmkit has one for both")
        if not truth(config, shared, True):
            flat["tie_embeddings"] = "output" if truth(config, tied, True) else "none"

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config |= {shared: flat["tie_embeddings"] in ("all", "inputs"), tied: flat["tie_embeddings"] in ("all", "output")}

    return Entry(read, write)


def _tables(flat: Flat, max_length: int) -> dict[str, np.ndarray]:
    """The sines and cosines that stand in files though they can be computed."""
    width = flat["hidden_size"]
    angles = np.arange(max_length)[:, None] / 10000.0 ** (2 * np.arange((width + 1) // 2) / width)
    table = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width].astype(np.float32)
    return {f"{side}.embed_positions.weight": table for side in ("encoder", "decoder")}


def _family(
    model_type: str, name: str, lm: str, weights: str, *entries: Entry, start: int | None = None, computed: Computed | None = None
) -> Family:
    pooled = Head("classification", {"pooling": "eos", "pooler": "tanh"}, config=(field("end_id", "eos_token_id", default=2, least=0),))
    classes = {lm: (Head("seq2seq", marker="final_logits_bias"),)}
    if name == "Bart":  # mBART reads its own text behind the text's last token, which is no constant
        classes[f"{name}ForSequenceClassification"] = (pooled,)
        classes[f"{name}ForQuestionAnswering"] = (Head("question_answering"),)
    return Family(
        model_type=model_type,
        tied=True,
        head_dropout=("classifier_dropout",),
        bare=f"{name}Model",
        classes=classes,
        config=(
            fixed(kind="encoder_decoder", norm__kind="layer_norm", norm__epsilon=1e-5, feed_forward__kind="dense"),
            fixed(output__bias=True, output__train_bias=False),
            written(is_encoder_decoder=True),
            field("hidden_size", "d_model"),
            activation("feed_forward.activation", "activation_function", default="gelu"),
            _sides(),
            _scale(),
            field("start_id", "decoder_start_token_id", default=start, least=0),
            dropouts("dropout", "attention_dropout"),
            *entries,
        ),
        weights=FRAME + weights,
        computed=computed,
    )


BART_POSITIONS = (
    fixed(position__embedding__kind="learned", position__embedding__offset=2),
    field("position.embedding.max_length", "max_position_embeddings", default=1024),
)
SINUSOIDS = fixed(position__embedding__kind="sinusoidal", position__embedding__layout="half")
BART = _family(
    "bart",
    "Bart",
    "BartForConditionalGeneration",
    LEARNED + EMBEDDING_NORM,
    fixed(norm__placement="post"),
    *BART_POSITIONS,
    start=2,
)
MBART = _family(
    "mbart",
    "MBart",
    "MBartForConditionalGeneration",
    LEARNED + EMBEDDING_NORM + FINAL_NORM,
    fixed(norm__placement="pre", embedding_norm=True),
    *BART_POSITIONS,
)
PEGASUS = _family(
    "pegasus",
    "Pegasus",
    "PegasusForConditionalGeneration",
    FINAL_NORM + SINES,
    fixed(norm__placement="pre", embedding_norm=False),
    SINUSOIDS,
    start=0,
    computed=Computed(_tables, written=True),
)
MARIAN = _family(
    "marian",
    "Marian",
    "MarianMTModel",
    APART + SINES,
    fixed(norm__placement="post", embedding_norm=False),
    SINUSOIDS,
    _tables_apart(),
    start=58100,
    computed=Computed(_tables, written=False),
)
