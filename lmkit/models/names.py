"""Canonical weight names: which a freeze pattern means, and how deep a weight stands."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

LAYERS = re.compile(r"(?:(?:encoder|decoder)\.)?layers\.(\d+)(?:-(\d+))?$")
LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.")


def matches(pattern: str, name: str) -> bool:
    """Whether a canonical name is meant by `embeddings`, `layers.3`, `layers.0-5`, or any other prefix of whole parts.

    The stack's own name may be left out before `layers`; beside an encoder, that means both sides.
    """
    layers, layer = LAYERS.match(pattern), LAYER.match(name)
    if layers and layers.group(2) is not None:
        stack = pattern.startswith(("encoder.", "decoder."))
        same = not stack or name.startswith(pattern.split(".")[0] + ".")
        return layer is not None and same and int(layers.group(1)) <= int(layer.group(2)) <= int(layers.group(2))
    without = re.sub(r"^(?:encoder|decoder)\.", "", name)
    return any(f"{full}.".startswith(f"{pattern}.") for full in (name, without))


PARTS = ("embeddings", "encoder", "decoder", "layers", "heads", "norm", "relative", "distance", "convolution")


def unknown_part(pattern: str, layers: int | None) -> str:
    """What is wrong with a pattern that no model has a part for, empty where nothing is: told before there are names to hold it
    against. `layers` is the height of the tallest stack, None where nobody knows yet.
    """
    found, first = LAYERS.match(pattern), pattern.split(".")[0]
    if found and layers is not None and int(found.group(2) or found.group(1)) >= layers:
        return f"{pattern} is no part of this model, whose layers are layers.0-{layers - 1}"
    if first in PARTS:
        return ""
    near = get_close_matches(first, PARTS, 1)
    meant = ".".join([*near, *pattern.split(".")[1:]])
    return f"{pattern} is no part of a model; " + (f"did you mean {meant}?" if near else f"a part begins with {', '.join(PARTS[:5])}")


def depths(names: Sequence[str]) -> tuple[dict[str, int], int]:
    """How many layers stand below each weight, and below a head.

    0 for embeddings and tables of distances, i + 1 for layer i, 1 for the convolution beside the first, and one more than the
    last layer for a stack's final norm. A decoder beside an encoder stands on top of it.
    """
    layers = {"encoder": 0, "decoder": 0}
    for stack, layer in (found.groups() for found in map(LAYER.match, names) if found):
        layers[stack] = max(layers[stack], int(layer) + 1)
    below = {"encoder": 0, "decoder": layers["encoder"]}
    top = sum(layers.values()) + 1

    def depth(name: str) -> int:
        layer, stack = LAYER.match(name), name.split(".")[0]
        if layer:
            return below[stack] + int(layer.group(2)) + 1
        if name.startswith(f"{stack}.convolution."):
            return below[stack] + 1
        if name.startswith(("embeddings.", *(f"{stack}.{part}." for stack in below for part in ("embeddings", "relative", "distance")))):
            return 0
        return below[stack] + layers[stack] + 1 if stack in below else top

    return {name: depth(name) for name in names}, top
