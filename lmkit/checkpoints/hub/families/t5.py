"""T5 (Raffel et al., 2020), Flan-T5 and mT5: distances in buckets instead of positions, scores that are not scaled."""

import math
from typing import Any

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import ACTIVATIONS, Config, Entry, dropouts, field, fixed, number, truth, value_of, whole, written, wrong
from lmkit.checkpoints.hub.words import Flat, said

WEIGHTS = r"""
ignore: decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight
shared = embeddings.token emb alias:encoder.embed_tokens.weight alias:decoder.embed_tokens.weight alias:lm_head.weight
(encoder|decoder).block.{i}.layer.0.SelfAttention.(q|k|v|o) = (encoder|decoder).layers.{i}.attention.(query|key|value|output) lin
(encoder|decoder).block.0.layer.0.SelfAttention.relative_attention_bias = (encoder|decoder).relative emb
(encoder|decoder).block.{i}.layer.0.layer_norm = (encoder|decoder).layers.{i}.attention_norm norm
decoder.block.{i}.layer.1.EncDecAttention.(q|k|v|o) = decoder.layers.{i}.cross_attention.(query|key|value|output) lin
decoder.block.{i}.layer.1.layer_norm = decoder.layers.{i}.cross_attention_norm norm
encoder.block.{i}.layer.1.DenseReluDense.(WI|wi_0|wo) = encoder.layers.{i}.feed_forward.(up|gate|down) lin
encoder.block.{i}.layer.1.layer_norm = encoder.layers.{i}.feed_forward_norm norm
decoder.block.{i}.layer.2.DenseReluDense.(WI|wi_0|wo) = decoder.layers.{i}.feed_forward.(up|gate|down) lin
decoder.block.{i}.layer.2.layer_norm = decoder.layers.{i}.feed_forward_norm norm
(encoder|decoder).final_layer_norm = (encoder|decoder).norm norm
lm_head = heads.seq2seq.output lin
"""


def _weights(flat: Flat) -> str:
    return WEIGHTS.replace("WI", "wi_1" if flat["feed_forward.kind"] == "gated" else "wi")


def _encoder_weights(flat: Flat) -> str:
    """Some files hold the table as the encoder's alone."""
    return _weights(flat).replace("token emb ", "token emb or:encoder.embed_tokens ")


def _feed_forward(default: str) -> Entry:
    """`feed_forward_proj`: an activation, or `gated-` and one; a gated gelu is its approximation."""

    def read(config: Config, flat: Flat) -> None:
        gate, _, name = str(value_of(config, ("feed_forward_proj",), default)).rpartition("-")
        if gate not in ("", "gated") or name not in ACTIVATIONS:
            raise wrong(config, ("feed_forward_proj",), f"one of {', '.join(ACTIVATIONS)}, with or without gated- before it")
        flat["feed_forward.kind"] = "gated" if gate else "dense"
        flat["feed_forward.activation"] = "gelu_tanh" if gate and name == "gelu" else ACTIVATIONS[name]

    def write(flat: Flat, config: dict[str, Any]) -> None:
        name = next((foreign for foreign, ours in ACTIVATIONS.items() if ours == said(flat, "feed_forward.activation")), "")
        gated = said(flat, "feed_forward.kind") == "gated"
        name = "gelu" if gated and name == "gelu_new" else name
        config["feed_forward_proj"] = f"gated-{name}" if gated else name

    return Entry(read, write)


def _depths() -> Entry:
    def read(config: Config, flat: Flat) -> None:
        flat["encoder.num_layers"] = whole(config, ("num_layers",))
        flat["decoder.num_layers"] = whole(config, ("num_decoder_layers",), flat["encoder.num_layers"])

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config |= {"num_layers": said(flat, "encoder.num_layers"), "num_decoder_layers": said(flat, "decoder.num_layers")}

    return Entry(read, write)


def _scale() -> Entry:
    """T5 divides hidden states by the root of their width before a head, unless the config says not to, or that tables are not tied.

    transformers 5 writes the two apart, and older ones read the second alone.
    """

    def read(config: Config, flat: Flat) -> None:
        scaled = truth(config, "scale_decoder_outputs", truth(config, "tie_word_embeddings", True))
        flat["output.scale"] = math.pow(flat["hidden_size"], -0.5) if scaled else 1.0

    def write(flat: Flat, config: dict[str, Any]) -> None:
        scaled = said(flat, "output.scale") != 1.0
        config |= {"tie_word_embeddings": scaled, "scale_decoder_outputs": scaled}

    return Entry(read, write)


def _stack(feed_forward: str) -> tuple[Entry, ...]:
    return (
        fixed(norm__kind="rms_norm", norm__placement="pre", attention__scale=1.0, position__bias__kind="relative"),
        written(is_encoder_decoder=True),
        field("hidden_size", "d_model"),
        field("num_heads", "num_heads"),
        field("head_dim", "d_kv"),
        field("feed_forward.intermediate_size", "d_ff"),
        _feed_forward(feed_forward),
        field("position.bias.num_buckets", "relative_attention_num_buckets", default=32),
        field("position.bias.max_distance", "relative_attention_max_distance", default=128),
        number("norm.epsilon", "layer_norm_epsilon", default=1e-6),
        dropouts("dropout_rate", ""),
    )


def _family(model_type: str, name: str, feed_forward: str, *more: Entry) -> Family:
    return Family(
        model_type=model_type,
        tie_said=False,
        max_length=("n_positions",),
        bare=f"{name}Model",
        classes={f"{name}ForConditionalGeneration": (Head("seq2seq", marker="lm_head.weight"),)},
        config=(
            fixed(kind="encoder_decoder"),
            *_stack(feed_forward),
            _depths(),
            field("start_id", "decoder_start_token_id", default=0, least=0),
            *more,
        ),
        weights=_weights,
    )


def _encoder(model_type: str, name: str, feed_forward: str) -> Family:
    """The encoder alone, as sentence encoders and the text side of image models have it."""
    return Family(
        model_type=model_type,
        tie_said=False,
        max_length=("n_positions",),
        bare=f"{name}EncoderModel",
        classes={},
        config=(fixed(kind="encoder", token_types=0), *_stack(feed_forward), field("num_layers", "num_layers")),
        weights=_encoder_weights,
    )


FAMILY = _family("t5", "T5", "relu", _scale())
MT5 = _family("mt5", "MT5", "gated-gelu")
ENCODER = _encoder("t5", "T5", "relu")
MT5_ENCODER = _encoder("mt5", "MT5", "gated-gelu")
