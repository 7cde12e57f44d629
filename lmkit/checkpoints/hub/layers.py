"""Config entries for what differs from layer to layer: windows by kind of attention, and mixtures between dense parts."""

from collections.abc import Callable
from typing import Any

from lmkit.checkpoints.hub.fields import Config, Entry, real, refuse, several, truth, whole
from lmkit.checkpoints.hub.words import Flat, each_layer, lay

FULL, SLIDING = "full_attention", "sliding_attention"
WINDOW = "sliding_window"

Kinds = Callable[[Config, int], list[str]]
Extra = Callable[[list[str], dict[str, Any]], None]


def one_window(default: int | None = None, switch: str = "") -> Entry:
    """The same window in all layers, or none; `switch` is a key that turns it off where it is silent or false."""

    def read(config: Config, flat: Flat) -> None:
        size = _size(config, default, switch)
        flat["attention.window"] = "full" if size is None else size

    def write(flat: Flat, config: dict[str, Any]) -> None:
        size = flat["attention.window"]
        config[WINDOW] = None if size == "full" else size
        if switch:
            config[switch] = size != "full"

    return Entry(read, write)


def _size(config: Config, default: int | None, switch: str) -> int | None:
    """The window of a config, which null turns off."""
    on = (not switch or truth(config, switch, False)) and config.get(WINDOW, default) is not None
    return whole(config, (WINDOW,), default, least=1) if on else None


def windows(
    kinds: Kinds, *, default: int | None = 4096, switch: str = "", extra: Callable[[list[str], dict[str, Any]], None] | None = None
) -> Entry:
    """Layers that see everything and layers with a window, as `layer_types` says or, in older configs, `kinds(config, layers)`.

    `extra(kinds, config)` adds the older keys to a config that is written.
    """

    def read(config: Config, flat: Flat) -> None:
        size = _size(config, default, switch)
        found = kinds_of(config, flat, kinds)
        flat["attention.window"] = tuple(size if kind == SLIDING and size is not None else "full" for kind in found)

    def write(flat: Flat, config: dict[str, Any]) -> None:
        sizes = each_layer(flat, "attention.window")
        found = [FULL if size == "full" else SLIDING for size in sizes]
        config["layer_types"] = found
        config[WINDOW] = next((size for size in sizes if size != "full"), None)
        if switch:
            config[switch] = config[WINDOW] is not None
        if extra is not None:
            extra(found, config)

    return Entry(read, write)


def kinds_of(config: Config, flat: Flat, kinds: Kinds) -> list[str]:
    """The kind of attention of every layer. Raises CheckpointError where the config names others, or too few."""
    found = several(config, "layer_types", None)
    if found is None:
        return kinds(config, flat["num_layers"])
    odd = sorted({str(kind) for kind in found} - {FULL, SLIDING})
    if odd or len(found) != flat["num_layers"]:
        what = f"{odd[0][:40]} is not supported" if odd else f"{len(found)} entries for {flat['num_layers']} layers"
        raise refuse(f"layer_types: {what}")
    return list(found)


def every(number: int, kind: str = FULL, other: str = SLIDING) -> Callable[[int], list[str]]:
    """`kind` in each layer whose number, counted from 1, is a multiple; `other` elsewhere."""
    return lambda layers: [other if (i + 1) % number else kind for i in range(layers)]


def mixture(
    size: str, count: tuple[str, ...], chosen: str, *, renormalize: bool | str, sparse: Callable[[Config, int], list[bool]]
) -> Entry:
    """Experts of width `size` in the layers that `sparse(config, layers)` names, a gated part in the others.

    `renormalize` is a fact, or the key that says it. Reads `feed_forward.activation` and the width of the gated part, which
    stand in the words before.
    """

    def read(config: Config, flat: Flat) -> None:
        own = truth(config, renormalize, False) if isinstance(renormalize, str) else renormalize
        gated = {"kind": "gated", "activation": flat["feed_forward.activation"]}
        experts = {
            "kind": "mixture",
            "num_experts": whole(config, count),
            "experts_per_token": whole(config, (chosen,)),
            "renormalize": own,
            "intermediate_size": whole(config, (size,)),
            "activation": flat["feed_forward.activation"],
            "gated": True,
            "balance_weight": real(config, ("router_aux_loss_coef",), 0.001),
        }
        gated["intermediate_size"] = config.get("intermediate_size") and whole(config, ("intermediate_size",))
        for key in [key for key in flat if key.startswith("feed_forward.")]:
            del flat[key]
        lay(flat, "feed_forward", [experts if is_sparse else gated for is_sparse in sparse(config, flat["num_layers"])])

    def write(flat: Flat, config: dict[str, Any]) -> None:
        items, none = each_layer(flat, "feed_forward"), dict[str, Any]()
        experts = next((item for item in items if item["kind"] == "mixture"), none)
        gated = next((item for item in items if item["kind"] != "mixture"), none)
        config["intermediate_size"] = gated.get("intermediate_size") or experts.get("intermediate_size")
        config |= {count[0]: experts.get("num_experts"), chosen: experts.get("experts_per_token"), size: experts.get("intermediate_size")}
        config["router_aux_loss_coef"] = experts.get("balance_weight")
        config["hidden_act"] = items[0].get("activation")
        if isinstance(renormalize, str):
            config[renormalize] = experts.get("renormalize")

    return Entry(read, write)
