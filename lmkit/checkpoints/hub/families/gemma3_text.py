"""Gemma 3's text model (Google, 2025): queries and keys normed, five layers of six see a window and have a rotation of their own."""

from typing import Any

from lmkit.checkpoints.hub.families.gemma import UNIT
from lmkit.checkpoints.hub.families.gemma2 import CAPPED, WEIGHTS
from lmkit.checkpoints.hub.families.llama import SIZES, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import Config, Entry, fixed, inner, number, real, whole
from lmkit.checkpoints.hub.layers import FULL, SLIDING, every, kinds_of, windows
from lmkit.checkpoints.hub.rope import ROTATION, laid_rotation, lay_rotation, rotation, write_scaling
from lmkit.checkpoints.hub.words import Flat, each_layer, lay

NORMS = "layers.{i}.self_attn.(q|k)_norm = decoder.layers.{i}.attention.(query|key)_norm norm\n"
GLOBAL, LOCAL = ("rope_theta", 1e6), ("rope_local_base_freq", 1e4)


def _kinds(config: Config, layers: int) -> list[str]:
    return every(whole(config, ("sliding_window_pattern", "_sliding_window_pattern"), 6, least=1))(layers)


def _pattern(kinds: list[str], config: dict[str, Any]) -> None:
    """The key of the first versions, where there is a pattern that it can say."""
    config["sliding_window_pattern"] = next((n for n in range(1, len(kinds) + 2) if every(n)(len(kinds)) == kinds), None)


def _rotations() -> Entry:
    """One rotation for layers that see everything, one for those with a window."""

    def read(config: Config, flat: Flat) -> None:
        given = inner(config, "rope_parameters")
        far = rotation(config, real(config, GLOBAL[:1], GLOBAL[1]), parameters=inner(given, FULL))
        near = rotation({}, real(config, LOCAL[:1], LOCAL[1]), parameters=inner(given, SLIDING))
        lay_rotation(flat, far)
        own = {"kind": "default"} if near == far else near
        lay(flat, "attention.rotary", [own if kind == SLIDING else {"kind": "default"} for kind in kinds_of(config, flat, _kinds)])

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config[GLOBAL[0]] = flat.get(ROTATION + "base")
        write_scaling(laid_rotation(flat)["scaling"], config)
        pairs = zip(each_layer(flat, "attention.rotary"), each_layer(flat, "attention.window"), strict=True)
        near = next((own for own, window in pairs if window != "full"), {"kind": "default"})
        config[LOCAL[0]] = near.get("base", flat.get(ROTATION + "base"))

    return Entry(read, write)


CONFIG: tuple[Entry, ...] = (
    *SIZES,
    *UNIT,
    *CAPPED,
    fixed(attention__qk_norm="head"),
    number("output.softcap", "final_logit_softcapping", default=None),
    windows(_kinds, extra=_pattern),
    _rotations(),
)

CAUSAL, CLASSIFYING = classes("Gemma3", only=("CausalLM", "SequenceClassification")).values()
SILENT = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131_072,
}

FAMILY = Family(
    model_type="gemma3_text",
    tied=True,
    silent=SILENT,
    bare="Gemma3TextModel",
    classes={"Gemma3ForCausalLM": CAUSAL, "Gemma3TextForSequenceClassification": CLASSIFYING},
    config=CONFIG,
    weights=WEIGHTS + NORMS,
)

# The text model inside one that sees images too, which is kept beside it.
WRAPPED = Family(
    model_type="gemma3",
    inside="text_config",
    tied=True,
    silent=SILENT,
    output=("lm_head.weight", "language_model.lm_head.weight"),
    bare="Gemma3Model",
    classes={
        "Gemma3ForConditionalGeneration": CAUSAL,
        "Gemma3ForSequenceClassification": CLASSIFYING,
    },
    config=CONFIG,
    weights=(WEIGHTS + NORMS).replace("prefix: model. |", "prefix: language_model.model. | model.language_model. | language_model.")
    + "keep: (model\\.)?(vision_tower|multi_modal_projector)\\..*\n",
)
