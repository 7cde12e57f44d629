"""A model's words laid flat, `attention.bias.query: true`, as config tables read and write them.

What varies over layers is one value where all layers agree, else a tuple with one for each. Positions stand under the slot that they
fill: `position.rotation.base`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lmkit.models.derive import resolved, transform_activation
from lmkit.models.spec import SIDES, Body, Decoder, Encoder, EncoderDecoder
from lmkit.positions.spec import CustomPosition, DefaultRotation, NoPosition

Flat = dict[str, Any]
PATTERNS = ("attention.window", "attention.rotary", "feed_forward")
SLOTS = {"learned": "embedding", "sinusoidal": "embedding", "rotary": "rotation"}
BIASES = ("query", "key", "value", "output")


def flatten(spec: Body, *, max_length: int) -> Flat:
    """All words of a model, the derived ones too, and numbers where there are several ways to say one.

    What both sides of an encoder-decoder agree on stands once; the rest under `encoder.` and `decoder.`.
    """
    if not isinstance(spec, EncoderDecoder):
        return _flat(spec, max_length)
    encoder, decoder = (_flat(spec.side(side), max_length) for side in SIDES)
    encoder |= {key: value for key, value in decoder.items() if key.startswith("output.")}  # heads look at the decoder alone
    own = {key for key in (*encoder, *decoder) if encoder.get(key) != decoder.get(key)}
    flat = {key: value for key, value in encoder.items() if key not in own}
    for side, words in zip(SIDES, (encoder, decoder), strict=True):
        flat |= {f"{side}.{key}": words[key] for key in words if key in own}
    for side in SIDES:
        flat.pop(f"{side}.kind")
        flat.pop(f"{side}.tie_embeddings", None)
    return flat | {"kind": spec.kind, "tie_embeddings": spec.tie_embeddings, "start_id": spec.start_id}


def said(flat: Mapping[str, Any], word: str) -> Any:
    """A word, or that of both sides where a side's own is asked for."""
    side, _, rest = word.partition(".")
    return flat.get(word, flat.get(rest) if side in SIDES else None)


def _flat(spec: Encoder | Decoder, max_length: int) -> Flat:
    flat = laid_flat(_turned(resolved(spec, max_length=max_length)).model_dump())
    flat.pop("bias")  # it only decides the biases of the parts
    flat["attention.scale"] = flat["attention.scale"] or flat["head_dim"] ** -0.5
    flat["embedding_scale"] = flat["hidden_size"] ** 0.5 if flat["embedding_scale"] == "sqrt_hidden" else flat["embedding_scale"] or 1.0
    flat["output.bias"] = flat["kind"] == "encoder" if flat["output.bias"] is None else flat["output.bias"]
    flat["output.transform_activation"] = flat["output.transform_activation"] or transform_activation(spec)
    flat["output.transform_epsilon"] = flat["output.transform_epsilon"] or flat.get("norm.epsilon")
    return flat


def _turned(spec: Encoder | Decoder) -> Encoder | Decoder:
    """The same rotations in one wording: the model has that of the first layer which turns, before others of one that sees all."""
    found = [spec.rotation_of(i) for i in range(spec.num_layers)]
    if any(isinstance(one, CustomPosition) for one in found):
        return spec
    seeing_all_first = sorted(range(spec.num_layers), key=lambda i: spec.attention.window_of(i) is not None)
    usual = next((found[i] for i in seeing_all_first if found[i] is not None), None)
    own = tuple(DefaultRotation() if one == usual else one or NoPosition() for one in found)
    others = tuple(one for one in spec.position if one.slot != "rotation")
    position = others + (() if usual is None else (usual,))
    attention = spec.attention.model_copy(update={"rotary": own})
    return spec.model_copy(update={"position": position or (NoPosition(),), "attention": attention})


def head_width(flat: Flat) -> int:
    """The width of a head, given or derived."""
    return int(flat.get("head_dim") or flat["hidden_size"] // flat["num_heads"])


def laid_flat(words: Mapping[str, Any]) -> Flat:
    """Nested words of one stack, flat."""
    positions = {_slot(position): position for position in words["position"] if position["kind"] != "none"}
    flat: Flat = {}
    for key, value in {**words, "position": positions}.items():
        if key in PATTERNS:
            value = layered(value, words["num_layers"])
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": entry for name, entry in _leaves(value).items()}
        else:
            flat[key] = value
    for key in PATTERNS:
        if key in flat:
            flat[key] = layered(flat[key], words["num_layers"])
    return flat


def layered(value: Any, layers: int) -> Any:
    """A pattern repeated over the layers; one value where it never changes."""
    if not isinstance(value, tuple | list):
        return value
    found = tuple(value[i % len(value)] for i in range(layers))
    return found[0] if all(item == found[0] for item in found) else found


def each_layer(flat: Flat, key: str) -> list[Any]:
    """What a key says of every layer; parts of a mapping are put together again."""
    layers = flat["num_layers"]
    if key not in flat:
        prefix = f"{key}."
        return [{name.removeprefix(prefix): value for name, value in flat.items() if name.startswith(prefix)}] * layers
    value = flat[key]
    return list(value) if isinstance(value, tuple) else [value] * layers


def lay(flat: Flat, key: str, items: Sequence[Any]) -> None:
    """Says something of every layer."""
    value = layered(tuple(items), len(items))
    if isinstance(value, Mapping) and key != "attention.rotary":
        flat |= {f"{key}.{name}": entry for name, entry in value.items()}
    else:
        flat[key] = value


def _leaves(words: Mapping[str, Any]) -> Flat:
    found: Flat = {}
    for key, value in words.items():
        inner = _leaves(value) if isinstance(value, Mapping) and value and key != "rotary" else None
        found |= {key: value} if inner is None else {f"{key}.{name}": entry for name, entry in inner.items()}
    return found


def _slot(position: Mapping[str, Any]) -> str:
    return SLOTS.get(position["kind"], "bias")


def word_at(flat: Flat, path: str) -> str:
    """The word that stands at a path of the nested words; empty where there is none."""
    found: Any = nested({word: (word,) * len(value) if isinstance(value, tuple) else value and word for word, value in flat.items()})
    for part in path.split("."):
        if isinstance(found, str):
            break
        found = found[int(part)] if isinstance(found, list) else found.get(part, "")
    return found if isinstance(found, str) else ""


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Flat words as a spec holds them, those that are None left open."""
    words: dict[str, Any] = {}
    for key, value in flat.items():
        if value is None:
            continue
        *path, last = key.split(".")
        into = words
        for part in path:
            into = into.setdefault(part, {})
        into[last] = list(value) if isinstance(value, tuple) else value
    slots = words.pop("position", {})
    for side in (side for side in SIDES if "position" in words.get(side, {})):
        words[side]["position"] = list(words[side]["position"].values())
    return words | {"position": list(slots.values()) or ["none"]}
