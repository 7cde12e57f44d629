"""The entries of a config table: each carries something from config.json to the words of a model, and back."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lmkit.checkpoints.hub.words import BIASES, Flat, said
from lmkit.errors import CheckpointError, Problem

Config = Mapping[str, Any]
REQUIRED: Any = object()

ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh", "quick_gelu": "quick_gelu",
    "relu": "relu", "relu2": "relu_squared", "silu": "silu", "swish": "silu", "tanh": "tanh", "gelu_python": "gelu",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """`read` adds to the words what the config says, `write` to the config what the words say."""

    read: Callable[[Config, Flat], None]
    write: Callable[[Flat, dict[str, Any]], None]


def refuse(what: str) -> CheckpointError:
    """Something that a config asks for and lmkit has not, or that it says wrongly."""
    return CheckpointError(Problem(what, where="config.json"))


def wrong(config: Config, keys: tuple[str, ...], expected: str) -> CheckpointError:
    """A value that its key cannot have."""
    key = next((key for key in keys if config.get(key) is not None), keys[0])
    return refuse(f"{key}: expected {expected}, got {json.dumps(config.get(key), default=str)[:40]}")


def value_of(config: Config, keys: tuple[str, ...], default: Any = REQUIRED) -> Any:
    """The first of several spellings that is there and not null. Raises CheckpointError where one is needed."""
    for key in keys:
        if config.get(key) is not None:
            return config[key]
    if default is REQUIRED:
        raise refuse(f"{keys[0]} is missing")
    return default


def real(config: Config, keys: tuple[str, ...], default: Any = REQUIRED, *, above: float = -math.inf) -> float:
    """A `value_of` that is a number. Raises CheckpointError naming the key of one that is none, or not `above` a bound."""
    value = value_of(config, keys, default)
    if not _is_number(value) or value <= above:
        raise wrong(config, keys, "a number" + ("" if above == -math.inf else f" above {above:g}"))
    return float(value)


def share(config: Config, keys: tuple[str, ...], default: Any = REQUIRED) -> float:
    """A `real` from 0 to below 1. Raises CheckpointError naming the key of one that is not."""
    value = real(config, keys, default)
    if not 0 <= value < 1:
        raise wrong(config, keys, "a number from 0 to below 1")
    return value


def whole(config: Config, keys: tuple[str, ...], default: Any = REQUIRED, *, least: int | None = None) -> int:
    """A `value_of` that is a number without a fraction. Raises CheckpointError where it is not, or is less than `least`."""
    value = value_of(config, keys, default)
    if not _is_number(value) or value != int(value) or (least is not None and value < least):
        raise wrong(config, keys, "a whole number" + ("" if least is None else f" of {least} or more"))
    return int(value)


def truth(config: Config, key: str, default: bool) -> bool:
    """A `value_of` that is true or false. Raises CheckpointError for anything else."""
    value = value_of(config, (key,), default)
    if not isinstance(value, bool):
        raise wrong(config, (key,), "true or false")
    return value


def several(config: Config, key: str, default: Any = REQUIRED) -> Any:
    """A `value_of` that is a list. Raises CheckpointError for anything else."""
    value = value_of(config, (key,), default)
    if key in config and value is config[key] and not isinstance(value, list):
        raise wrong(config, (key,), "a list")
    return value


def inner(config: Config, key: str) -> Config:
    """The mapping under a key, empty where there is none. Raises CheckpointError for anything else."""
    value = value_of(config, (key,), {})
    if not isinstance(value, Mapping):
        raise wrong(config, (key,), "a mapping")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def field(word: str, *keys: str, default: Any = REQUIRED, least: int = 1) -> Entry:
    """A whole number of `least` or more: one word for one key; further keys are older spellings that are read and not written."""

    def read(config: Config, flat: Flat) -> None:
        flat[word] = None if value_of(config, keys, default) is None else whole(config, keys, default, least=least)

    return Entry(read, _plainly(word, keys[0]))


def switch(word: str, key: str, default: bool) -> Entry:
    """A word that is true or false."""

    def read(config: Config, flat: Flat) -> None:
        flat[word] = truth(config, key, default)

    return Entry(read, _plainly(word, key))


def _plainly(word: str, key: str) -> Callable[[Flat, dict[str, Any]], None]:
    def write(flat: Flat, config: dict[str, Any]) -> None:
        config[key] = said(flat, word)

    return write


def projected(key: str, *, default: int | None = None) -> Entry:
    """The width of embeddings in a family that projects them where it is not that of the stream."""

    def read(config: Config, flat: Flat) -> None:
        size = whole(config, (key,), flat["hidden_size"] if default is None else default, least=1)
        flat["embedding_size"] = None if size == flat["hidden_size"] else size

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config[key] = said(flat, "embedding_size") or said(flat, "hidden_size")

    return Entry(read, write)


def number(word: str, *keys: str, default: Any = REQUIRED, silent: Any = None) -> Entry:
    """A `field` that is a real number, though JSON may hold it without its point; `silent` is what an absent key means, unlike null."""

    def read(config: Config, flat: Flat) -> None:
        meant = silent if silent is not None and keys[0] not in config else default
        flat[word] = None if value_of(config, keys, meant) is None else real(config, keys, meant)

    return Entry(read, _plainly(word, keys[0]))


def fixed(**words: Any) -> Entry:
    """Words that the family has by its nature; `__` stands for the dot."""

    def read(config: Config, flat: Flat) -> None:
        flat.update({word.replace("__", "."): value for word, value in words.items()})

    return Entry(read, _nothing)


def only(key: str, *values: Any, write: bool = False) -> Entry:
    """A key whose other values change the model in ways that have no word; `write` gives it to new configs too."""

    def read(config: Config, flat: Flat) -> None:
        if key in config and config[key] is not None and config[key] not in values:
            raise refuse(f"{key}: {str(config[key])[:60]} is not supported; lmkit reads {' or '.join(map(str, values))}")

    def add(flat: Flat, config: dict[str, Any]) -> None:
        config[key] = values[0]

    return Entry(read, add if write else _nothing)


def written(**keys: Any) -> Entry:
    """Keys that say nothing to us and that others want to see."""
    return Entry(lambda config, flat: None, lambda flat, config: config.update(keys))


def _nothing(flat: Flat, config: dict[str, Any]) -> None:
    pass


def activation(word: str, *keys: str, default: Any = REQUIRED, names: Mapping[str, str] = ACTIVATIONS, also: str = "") -> Entry:
    """An activation by its foreign name; written is the first foreign name of ours, under the first key and `also`."""

    def read(config: Config, flat: Flat) -> None:
        name = value_of(config, keys, default)
        if str(name) not in names:
            raise refuse(f"{keys[0]}: {str(name)[:40]} is no activation that lmkit knows; it knows {', '.join(names)}")
        flat[word] = names[name]

    def write(flat: Flat, config: dict[str, Any]) -> None:
        name = next((foreign for foreign, ours in names.items() if ours == said(flat, word)), said(flat, word))
        config |= dict.fromkeys(filter(None, (keys[0], also)), name)

    return Entry(read, write)


def choice(word: str, key: str, values: Mapping[str, Any]) -> Entry:
    """A word by the foreign names of its values; the first is what a config means that is silent."""

    def read(config: Config, flat: Flat) -> None:
        name = value_of(config, (key,), next(iter(values)))
        if str(name) not in values:
            raise refuse(f"{key}: {str(name)[:40]} is not supported; lmkit reads {' or '.join(values)}")
        flat[word] = values[name]

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config[key] = next((name for name, value in values.items() if value == said(flat, word)), said(flat, word))

    return Entry(read, write)


def flag(key: str, words: Mapping[bool, Mapping[str, Any]], default: bool) -> Entry:
    """A switch that decides several words; written by the first of them."""

    def read(config: Config, flat: Flat) -> None:
        flat.update(words[truth(config, key, default)])

    def write(flat: Flat, config: dict[str, Any]) -> None:
        word, value = next(iter(words[True].items()))
        config[key] = said(flat, word) == value

    return Entry(read, write)


def attention_bias(key: str = "attention_bias", *, default: bool) -> Entry:
    """A switch for the biases of all four projections."""
    return flag(key, {on: {f"attention.bias.{part}": on for part in BIASES} for on in (True, False)}, default)


def biases(*parts: str) -> Entry:
    """Which projections of attention have a bias."""
    return fixed(**{f"attention__bias__{part}": part in parts for part in BIASES})


def dropouts(hidden: str, attention: str) -> Entry:
    """Dropout of the stream and of the attention probabilities; a config without them has none."""

    def read(config: Config, flat: Flat) -> None:
        flat["dropout"] = share(config, (hidden,), 0.0) if hidden else 0.0
        flat["attention.dropout"] = share(config, (attention,), 0.0) if attention else 0.0

    def write(flat: Flat, config: dict[str, Any]) -> None:
        config.update({key: flat.get(word) for key, word in ((hidden, "dropout"), (attention, "attention.dropout")) if key})

    return Entry(read, write)
