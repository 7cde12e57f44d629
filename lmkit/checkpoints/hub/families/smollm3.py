"""SmolLM 3 (Hugging Face, 2025): a Llama without rotation in every fourth layer."""

from typing import Any

from lmkit.checkpoints.hub.families.llama import ROOT_MEAN_SQUARE, SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import Config, Entry, attention_bias, refuse, several, switch, truth, whole
from lmkit.checkpoints.hub.layers import FULL, SLIDING, windows
from lmkit.checkpoints.hub.rope import rope
from lmkit.checkpoints.hub.words import Flat, each_layer, lay

SWITCH = "use_sliding_window"


def _rotated(config: Config, layers: int) -> list[bool]:
    """`no_rope_layers` has a 1 for a layer *with* rotation."""
    interval = whole(config, ("no_rope_layer_interval",), 4, least=1)
    found = several(config, "no_rope_layers", None) or [int((i + 1) % interval != 0) for i in range(layers)]
    if len(found) != layers:
        raise refuse(f"no_rope_layers: {len(found)} entries for {layers} layers")
    return [bool(one) for one in found]


def _rotations() -> Entry:
    def read(config: Config, flat: Flat) -> None:
        rotated = _rotated(config, flat["num_layers"])
        lay(flat, "attention.rotary", [{"kind": "default" if one else "none"} for one in rotated])

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config["no_rope_layers"] = [int(one["kind"] == "default") for one in each_layer(flat, "attention.rotary")]

    return Entry(read, write)


def _kinds(config: Config, layers: int) -> list[str]:
    on = truth(config, SWITCH, False) and config.get("sliding_window") is not None
    return [SLIDING if on and not one else FULL for one in _rotated(config, layers)]


FAMILY = Family(
    model_type="smollm3",
    tied=True,
    silent={"num_key_value_heads": 4},
    bare="SmolLM3Model",
    classes=classes("SmolLM3"),
    config=(
        *SIZES,
        *ROOT_MEAN_SQUARE,
        attention_bias(default=False),
        switch("feed_forward.bias", "mlp_bias", default=False),
        rope(base=2e6),
        _rotations(),
        windows(_kinds, default=None, switch=SWITCH),
    ),
    weights=WEIGHTS,
)
