"""Canonical weight names: which a freeze pattern means, and how deep a weight stands."""

import re

LAYERS = re.compile(r"(?:(?:encoder|decoder)\.)?layers\.(\d+)(?:-(\d+))?$")
LAYER = re.compile(r"(?:encoder|decoder)\.layers\.(\d+)\.")


def matches(pattern: str, name: str) -> bool:
    """Whether a canonical name is meant by `embeddings`, `layers.3`, `layers.0-5`, or any other prefix of whole parts.

    The stack's own name may be left out before `layers`.
    """
    layers, layer = LAYERS.match(pattern), LAYER.match(name)
    if layers and layers.group(2) is not None:
        stack = pattern.startswith(("encoder.", "decoder."))
        same = not stack or name.startswith(pattern.split(".")[0] + ".")
        return layer is not None and same and int(layers.group(1)) <= int(layer.group(1)) <= int(layers.group(2))
    without = re.sub(r"^(?:encoder|decoder)\.", "", name)
    return any(f"{full}.".startswith(f"{pattern}.") for full in (name, without))


def depth(name: str, num_layers: int) -> int:
    """0 for embeddings, i + 1 for layer i, num_layers + 1 for the final norm and the heads."""
    if name.startswith("embeddings."):
        return 0
    layer = LAYER.match(name)
    return int(layer.group(1)) + 1 if layer else num_layers + 1
