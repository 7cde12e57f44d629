"""Rotary positions in config.json: the flat keys of old, `rope_scaling`, and the `rope_parameters` of later writers."""

import math
from collections.abc import Mapping
from typing import Any

from lmkit.checkpoints.hub.fields import Config, Entry, inner, real, refuse, several, truth, whole
from lmkit.checkpoints.hub.words import Flat

ROTATION = "position.rotation."
SCALINGS: dict[str, dict[str, str]] = {  # foreign name -> ours
    "linear": {"factor": "factor"},
    "dynamic": {"factor": "factor", "max_position_embeddings": "original_max_length"},
    "llama3": {
        "factor": "factor",
        "low_freq_factor": "low_frequency_factor",
        "high_freq_factor": "high_frequency_factor",
        "original_max_position_embeddings": "original_max_length",
    },
    "yarn": {
        "factor": "factor",
        "original_max_position_embeddings": "original_max_length",
        "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
        "attention_factor": "attention_factor",
        "mscale": "mscale",
        "mscale_all_dim": "mscale_all_dim",
        "truncate": "truncate",
    },
    "longrope": {
        "short_factor": "short_factor",
        "long_factor": "long_factor",
        "original_max_position_embeddings": "original_max_length",
        "attention_factor": "attention_factor",
    },
}
NEEDED = {  # without a meaning of their own where they are silent; a null factor of yarn is that of the lengths
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
}
ALIASES = {"su": "longrope"}
ORIGINAL = "original_max_position_embeddings"


def rope(
    *,
    base: float = 10000.0,
    fraction: float | None = None,
    base_key: str = "rope_theta",
    fraction_key: str = "partial_rotary_factor",
    names: tuple[str, ...] = ("rope_type", "type"),
    original: int | None = None,
) -> Entry:
    """Rotary positions of all layers; `base`, `fraction` and `original` (the length trained on) are what a config means that is silent.

    Without a `fraction` the family knows none. `names` are the keys that hold the kind of a scaling.
    """

    def read(config: Config, flat: Flat) -> None:
        config = config if original is None else {ORIGINAL: original, **config}
        lay_rotation(flat, rotation(config, base, fraction, base_key, fraction_key))

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config[base_key] = flat.get(ROTATION + "base")
        if fraction is not None:
            config[fraction_key] = flat.get(ROTATION + "fraction")
        write_scaling(laid_rotation(flat)["scaling"], config, names)

    return Entry(read, write)


def lay_rotation(flat: Flat, words: Mapping[str, Any]) -> None:
    """Makes a rotation that of all layers."""
    flat |= {ROTATION + key: value for key, value in words.items() if key != "scaling"}
    flat |= {f"{ROTATION}scaling.{key}": value for key, value in words["scaling"].items()}


def laid_rotation(flat: Flat) -> dict[str, Any]:
    """The rotation of all layers, as `lay_rotation` took it."""
    words = {key.removeprefix(ROTATION): value for key, value in flat.items() if key.startswith(ROTATION)}
    inner = {key.removeprefix("scaling."): value for key, value in words.items() if key.startswith("scaling.")}
    return {key: value for key, value in words.items() if not key.startswith("scaling.")} | {"scaling": inner}


def rotation(
    config: Config,
    base: float,
    fraction: float | None = None,
    base_key: str = "rope_theta",
    fraction_key: str = "partial_rotary_factor",
    parameters: Config | None = None,
) -> dict[str, Any]:
    """The words of one rotation from a config, or from `parameters` where layers differ."""
    given = inner(config, "rope_parameters") if parameters is None else parameters
    scaling = given if {"rope_type", "type"} & given.keys() else inner(config, "rope_scaling")
    share = real({**config, **given}, ("partial_rotary_factor", fraction_key), 1.0 if fraction is None else fraction)
    if fraction is None and share != 1.0:
        raise refuse(f"partial_rotary_factor: {share} is not known to this family")
    return {
        "kind": "rotary",
        "base": real({**config, **given}, ("rope_theta", base_key), base),
        "fraction": share,
        "layout": "half",
        "scaling": read_scaling(scaling, config),
    }


def read_scaling(scaling: Config, config: Config) -> Flat:
    """`rope_scaling` as words. Raises CheckpointError for a kind that has none."""
    named = scaling.get("rope_type", scaling.get("type", "default"))
    kind = ALIASES.get(str(named), named)
    if kind in ("default", None):
        return {"kind": "none"}
    if kind not in SCALINGS:
        raise refuse(f"rope_scaling: {str(kind)[:40]} is not supported; lmkit reads default, {', '.join(SCALINGS)}")
    lacking = [key for key in NEEDED[kind] if scaling.get(key) is None and not (kind == "yarn" and key in scaling)]
    if lacking:
        raise refuse(f"rope_scaling: {kind} needs {lacking[0]}")
    words: Flat = {"kind": kind}
    for foreign, ours in SCALINGS[kind].items():
        if ours == "original_max_length":
            words[ours] = _original(kind, scaling, config)
        elif scaling.get(foreign) is not None:
            words[ours] = _entry(scaling, foreign)
    if kind in ("yarn", "longrope") and words.get("factor") is None and "factor" in SCALINGS[kind].values():
        words["factor"] = whole(config, ("max_position_embeddings",)) / words["original_max_length"]
    if kind == "longrope":
        words.setdefault("attention_factor", long_factor(real(scaling, ("factor",), 0.0), config, words["original_max_length"]))
    return words


def _entry(scaling: Config, key: str) -> Any:
    if key in ("short_factor", "long_factor"):
        return several(scaling, key)
    return truth(scaling, key, True) if key == "truncate" else real(scaling, (key,))


def _original(kind: str, scaling: Config, config: Config) -> int:
    """The length trained on; where frequencies follow the length it is the model's, else the model's own word goes before the scaling's."""
    if kind == "dynamic":
        return whole(config, ("max_position_embeddings",))
    return whole({**scaling, **config}, (ORIGINAL, "max_position_embeddings"), least=1)


def long_factor(factor: float, config: Config, original: int) -> float:
    """What multiplies queries and keys of a model that reads `factor` times longer texts than it first did."""
    factor = factor or whole(config, ("max_position_embeddings",)) / original
    return 1.0 if factor <= 1.0 else math.sqrt(1 + math.log(factor) / math.log(original))


def write_scaling(words: Mapping[str, Any], config: dict[str, Any], names: tuple[str, ...] = ("rope_type", "type")) -> None:
    """Words as the `rope_scaling` that every version reads, null where nothing is scaled."""
    kind = words.get("kind", "none")
    config["rope_scaling"] = None
    if kind == "none":
        return
    found = {foreign: words.get(ours) for foreign, ours in SCALINGS[kind].items()}
    if kind == "dynamic":
        config["max_position_embeddings"] = found.pop("max_position_embeddings")
    if kind == "longrope":
        config[ORIGINAL] = found.pop(ORIGINAL)
        usual = long_factor(0.0, config, config[ORIGINAL])
        if math.isclose(words["attention_factor"], usual, rel_tol=1e-9):
            found.pop("attention_factor")
    kept = {key: list(value) if isinstance(value, tuple) else value for key, value in found.items() if value is not None}
    config["rope_scaling"] = {**dict.fromkeys(names, kind), **kept}


def parameters_of(words: Mapping[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """A rotation as an entry of `rope_parameters`; the length that a scaling may depend on goes to the config."""
    own: dict[str, Any] = {"max_position_embeddings": config["max_position_embeddings"]}
    write_scaling(words["scaling"], own, ("rope_type",))
    config["max_position_embeddings"] = own.pop("max_position_embeddings")
    return {"rope_type": "default", "rope_theta": words["base"], **(own.pop("rope_scaling") or {}), **own}
