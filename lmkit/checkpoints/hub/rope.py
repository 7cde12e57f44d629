"""Rotary positions in config.json: the flat keys of old, `rope_scaling`, and the `rope_parameters` of later writers."""

from collections.abc import Mapping
from typing import Any

from lmkit.checkpoints.hub.fields import Config, Entry, refuse, value_of
from lmkit.checkpoints.hub.words import Flat

ROTATION = "position.rotation."
SCALINGS: dict[str, dict[str, str]] = {  # foreign name -> ours
    "linear": {"factor": "factor"},
    "dynamic": {"factor": "factor", "original_max_position_embeddings": "original_max_length"},
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
WHOLE = ("original_max_length",)


def rope(
    *, base: float = 10000.0, fraction: float = 1.0, base_key: str = "rope_theta", fraction_key: str = "partial_rotary_factor"
) -> Entry:
    """Rotary positions of all layers; `base` and `fraction` are what a config means that is silent."""

    def read(config: Config, flat: Flat) -> None:
        flat.update({ROTATION + key: value for key, value in rotation(config, base, fraction, base_key, fraction_key).items()})

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config[base_key] = flat.get(ROTATION + "base")
        if fraction != 1.0 or flat.get(ROTATION + "fraction", 1.0) != 1.0:
            config[fraction_key] = flat.get(ROTATION + "fraction")
        prefix = ROTATION + "scaling."
        config["rope_scaling"] = scaling_out({key.removeprefix(prefix): v for key, v in flat.items() if key.startswith(prefix)})

    return Entry(read, write)


def rotation(
    config: Config,
    base: float,
    fraction: float = 1.0,
    base_key: str = "rope_theta",
    fraction_key: str = "partial_rotary_factor",
    parameters: Any = None,
) -> Flat:
    """The words of one rotation from a config, or from `parameters` where layers differ."""
    parameters = config.get("rope_parameters") if parameters is None else parameters
    given = parameters or {}
    if not isinstance(given, Mapping):
        raise refuse("rope_parameters is no mapping")
    scaling = given if "rope_type" in given else (config.get("rope_scaling") or {})
    whole = {**config, **given}
    words = {
        "kind": "rotary",
        "base": float(value_of(whole, ("rope_theta", base_key), base)),
        "fraction": float(value_of(whole, ("partial_rotary_factor", fraction_key), fraction)),
        "layout": "half",
    }
    return words | {f"scaling.{key}": value for key, value in scaling_in(scaling, config).items()}


def scaling_in(scaling: Any, config: Config) -> Flat:
    """`rope_scaling` as words. Raises CheckpointError for a kind that has none."""
    if not isinstance(scaling, Mapping):
        raise refuse("rope_scaling is no mapping")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind in ("default", None):
        return {"kind": "none"}
    if kind not in SCALINGS:
        raise refuse(f"rope_scaling: {str(kind)[:40]} is not supported; lmkit reads default, {', '.join(SCALINGS)}")
    words: Flat = {"kind": kind}
    for foreign, ours in SCALINGS[kind].items():
        value = scaling.get(foreign)
        if value is None and ours in WHOLE:
            value = value_of(config, ("original_max_position_embeddings", "max_position_embeddings"), None)
        if value is not None:
            words[ours] = value if ours in WHOLE or isinstance(value, bool | list) else float(value)
    if kind == "longrope" and "attention_factor" not in words:
        words["attention_factor"] = _long_factor(scaling, config, words["original_max_length"])
    return words


def _long_factor(scaling: Config, config: Config, original: int) -> float:
    from math import log, sqrt

    factor = scaling.get("factor") or value_of(config, ("max_position_embeddings",)) / original
    return 1.0 if factor <= 1.0 else sqrt(1 + log(factor) / log(original))


def scaling_out(words: Mapping[str, Any]) -> dict[str, Any] | None:
    """Words as the `rope_scaling` that every version reads; None where nothing is scaled."""
    kind = words.get("kind", "none")
    if kind == "none":
        return None
    found = {foreign: words.get(ours) for foreign, ours in SCALINGS[kind].items()}
    kept = {key: list(value) if isinstance(value, tuple) else value for key, value in found.items() if value is not None}
    return {"rope_type": kind, "type": kind} | kept
