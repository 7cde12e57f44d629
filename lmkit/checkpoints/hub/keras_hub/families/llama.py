"""keras-hub's Llama and Llama 3, which differ in their tokenizers alone."""

from typing import Any

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import Config, Entry, biases, dropouts, field, fixed, number, only, real, refuse
from lmkit.checkpoints.hub.rope import ROTATION
from lmkit.checkpoints.hub.words import Flat

WEIGHTS = r"""
prefix: model.weights.h5/
joint: /vars/
ignore: .*/seed_generator/vars/[0-9]+
layers/reversible_embedding = embeddings.token rows
layers/reversible_embedding/vars/1 = heads.causal_lm.output.kernel raw
layers/llama_transformer_decoder{_i}/_self_attention_layernorm = decoder.layers.{i}.attention_norm affine
layers/llama_transformer_decoder{_i}/_self_attention_layer/_(query|key|value)_dense = decoder.layers.{i}.attention.(query|key|value) split
layers/llama_transformer_decoder{_i}/_self_attention_layer/_output_dense = decoder.layers.{i}.attention.output merged
layers/llama_transformer_decoder{_i}/_feedforward_layernorm = decoder.layers.{i}.feed_forward_norm affine
layers/llama_transformer_decoder{_i}/_feedforward_(gate|intermediate|output)_dense = decoder.layers.{i}.feed_forward.(gate|up|down) dense
layers/llama_layer_norm = decoder.norm affine
"""

SCALING = {
    "rope_frequency_adjustment_factor": "factor",
    "rope_low_freq_factor": "low_frequency_factor",
    "rope_high_freq_factor": "high_frequency_factor",
    "rope_pretraining_sequence_length": "original_max_length",
}


def _rotation() -> Entry:
    """Rotary positions, with Llama 3's stretch where all four of its numbers are there."""
    scaling = ROTATION + "scaling."

    def read(config: Config, flat: Flat) -> None:
        base = real(config, ("rope_max_wavelength",), 10_000)
        flat |= {f"{ROTATION}{key}": value for key, value in {"kind": "rotary", "base": base, "fraction": 1.0, "layout": "half"}.items()}
        found = {ours: config[key] for key, ours in SCALING.items() if config.get(key) is not None}
        if found and len(found) < len(SCALING):
            raise refuse(f"{', '.join(SCALING)} go together; only some of them are there")
        flat[scaling + "kind"] = "llama3" if found else "none"
        flat |= {scaling + key: int(value) if key == "original_max_length" else float(value) for key, value in found.items()}

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config["rope_max_wavelength"] = flat.get(ROTATION + "base")
        config |= {key: flat.get(scaling + ours) if flat.get(scaling + "kind") == "llama3" else None for key, ours in SCALING.items()}

    return Entry(read, write)


def _family(name: str) -> Family:
    return Family(
        model_type=f"{name}Backbone",
        bare=f"{name}Backbone",
        tied=True,  # unless the weights hold an output projection: keras-hub 0.32 does not say it in the config
        output=("model.weights.h5/layers/reversible_embedding/vars/1",),
        max_length=("sequence_length",),
        vocabulary=("vocabulary_size",),
        classes={f"{name}CausalLM": (Head("causal_lm"),)},
        config=(
            fixed(kind="decoder", norm__kind="rms_norm", norm__placement="pre"),
            fixed(feed_forward__kind="gated", feed_forward__activation="silu", feed_forward__bias=False),
            biases(),
            field("num_layers", "num_layers"),
            field("hidden_size", "hidden_dim"),
            field("num_heads", "num_query_heads"),
            field("num_kv_heads", "num_key_value_heads"),
            field("feed_forward.intermediate_size", "intermediate_dim"),
            number("norm.epsilon", "layer_norm_epsilon", default=1e-6),
            _rotation(),
            only("rope_position_scaling_factor", 1.0, write=True),  # keras-hub 0.32 keeps it and does not use it
            dropouts("", "dropout"),
        ),
        weights=WEIGHTS,
    )


LLAMA3, LLAMA = _family("Llama3"), _family("Llama")
