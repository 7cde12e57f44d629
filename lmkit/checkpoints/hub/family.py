"""What is known of one foreign family: its config table, its weight table, its heads, and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from lmkit.checkpoints.hub.fields import Entry, refuse
from lmkit.checkpoints.hub.table import Table, parse_table
from lmkit.checkpoints.hub.words import Flat

MOST_LAYERS, LARGEST = 10_000, 2**31


@dataclass(frozen=True)
class Head:
    """One task that a class of the family does; its variables stand in the weight table under `heads.{kind}`.

    `words` are the task's own, `config` is the table of those that the config decides; `marker` is a key whose presence in a file
    alone means that the head is there.
    """

    kind: str
    words: Mapping[str, Any] = field(default_factory=dict)
    marker: str = ""
    config: tuple[Entry, ...] = ()

    def read(self, config: Mapping[str, Any]) -> Flat:
        """The words of the task."""
        words = dict(self.words)
        for entry in self.config:
            entry.read(config, words)
        return words

    def write(self, words: Flat, config: dict[str, Any]) -> None:
        """Adds to a config what a task's words say."""
        for entry in self.config:
            entry.write(words, config)


@dataclass(frozen=True)
class Computed:
    """Tensors that follow from the words, `tables(flat, max_length)` by key without prefix; `written` to new files too."""

    tables: Callable[[Flat, int], Mapping[str, Any]]
    written: bool


@dataclass(frozen=True)
class Family:
    """`model_type` is what config.json calls it; `classes` names the heads of each class that `architectures` may hold.

    `weights` is a table's text, or makes it from the words of a model. `output` is the key of an output projection of its own, which
    a model with tied embeddings lacks; `tied` is what a config means that does not say `tie_word_embeddings`.
    """

    model_type: str
    config: tuple[Entry, ...]
    weights: str | Callable[[Flat], str]
    classes: Mapping[str, tuple[Head, ...]]
    bare: str
    output: tuple[str, ...] = ("lm_head.weight",)
    tied: bool = False
    tie_said: bool = True  # False where the file alone decides
    head_dropout: tuple[str, ...] = ()  # keys of the dropout before a classifier; without them there is none
    max_length: tuple[str, ...] = ("max_position_embeddings",)
    vocabulary: tuple[str, ...] = ("vocab_size",)
    computed: Computed | None = None
    silent: Mapping[str, Any] = field(default_factory=dict)  # what absent keys mean
    inside: str = ""  # the key of a larger model's config under which this one's stands

    def read(self, config: Mapping[str, Any]) -> Flat:
        """The words that a config stands for, without those of its heads."""
        for key, value in config.items():
            if type(value) is int and value > (MOST_LAYERS if "layer" in key or "group" in key else LARGEST):
                raise refuse(f"{key}: {str(value)[:40]} is larger than any model")
        flat: Flat = {}
        for entry in self.config:
            entry.read(config, flat)
        return flat

    def keys_of(self, config: Mapping[str, Any], word: str) -> tuple[str, ...]:
        """The keys of a config that a word was read from: those that hold its very value, else all that were looked at."""
        flat: Flat = {}
        seen: tuple[str, ...] = ()
        for entry in self.config:
            before, heard = flat.get(word), Heard(config)
            entry.read(heard, flat)
            seen = seen if flat.get(word) is before else tuple(heard.asked)
        value = flat.get(word)
        return tuple(key for key in seen or config if type(config[key]) in (int, float) and config[key] == value) or seen

    def write(self, flat: Flat, max_length: int) -> dict[str, Any]:
        """The config that stands for words; what it cannot say is missing or wrong in it, which reading it again shows."""
        config: dict[str, Any] = {"model_type": self.model_type, **{key: max_length for key in self.max_length[:1]}}
        for entry in self.config:
            entry.write(flat, config)
        return config

    def table(self, flat: Flat) -> Table:
        """The weight table of a model with these words."""
        return _parsed(self.weights if isinstance(self.weights, str) else self.weights(flat))


class Heard(dict[str, Any]):
    """A config that notes which of its keys were asked for."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.asked: dict[str, None] = {}

    def get(self, key: str, default: Any = None) -> Any:
        if super().get(key) is not None:
            self.asked[key] = None
        return super().get(key, default)


@cache
def _parsed(text: str) -> Table:
    return parse_table(text)
