"""Qwen 2 and 2.5 (Alibaba, 2024): a Llama with biases on queries, keys and values, and windows in its last layers."""

from typing import Any

from lmkit.checkpoints.hub.families.llama import ROOT_MEAN_SQUARE, SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import Config, Entry, biases, field, fixed, whole
from lmkit.checkpoints.hub.layers import FULL, SLIDING, windows
from lmkit.checkpoints.hub.rope import rope

SWITCH = "use_sliding_window"


def _kinds(config: Config, layers: int) -> list[str]:
    first = whole(config, ("max_window_layers",), 28)
    return [FULL if i < first else SLIDING for i in range(layers)]


def _first(kinds: list[str], config: dict[str, Any]) -> None:
    """The key of the first versions: from which layer on there are windows."""
    config["max_window_layers"] = kinds.index(SLIDING) if SLIDING in kinds else len(kinds)


def late_windows() -> Entry:
    """Windows from some layer on, where they are switched on."""
    return windows(_kinds, switch=SWITCH, extra=_first)


FAMILY = Family(
    model_type="qwen2",
    bare="Qwen2Model",
    classes=classes("Qwen2"),
    config=(
        *SIZES,
        *ROOT_MEAN_SQUARE,
        biases("query", "key", "value"),
        fixed(feed_forward__bias=False),
        field("head_dim", "head_dim", default=None),
        rope(),
        late_windows(),
    ),
    weights=WEIGHTS,
)
