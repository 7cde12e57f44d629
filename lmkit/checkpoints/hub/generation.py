"""generation_config.json, or what older folders keep of it in config.json, in the words of generation/settings.py."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmkit.checkpoints.hub.folder import CONFIG, read_json
from lmkit.checkpoints.hub.roles import NONE
from lmkit.errors import CheckpointError, Problem

FILE = "generation_config.json"
CANDIDATES = 50  # the tokens that transformers draws from where nothing else is said
Check = tuple[str, Callable[[Any], bool]]


@dataclass(frozen=True)
class Habits:
    """How the makers of a model let it write.

    `words` are settings; where they hold no `beams`, `temperature` says whether it draws. `new` and `whole` are the most new
    tokens and the most tokens with the prompt, as far as they are said. `unheard` are keys whose values change what is
    written and that lmkit has no word for. `file` is where all this stands, `start` the key there that says what begins a text.
    """

    file: Path
    words: dict[str, Any] = field(default_factory=dict)
    new: int | None = None
    whole: int | None = None
    unheard: tuple[str, ...] = ()
    start: str = "decoder_start_token_id"

    def require(self, vocab_size: int, *, beside_encoder: bool) -> None:
        """Raises CheckpointError where a word names a token that the model has not; only a decoder beside an encoder reads `start`."""
        single = ("start", "forced_first") if beside_encoder else ("forced_first",)
        named: dict[str, list[int]] = {key: [self.words[key]] for key in single if key in self.words}
        named |= {key: list(self.words.get(key, ())) for key in ("end", "suppressed", "suppressed_first", "forced_last")}
        named["bad_words"] = [token for word in self.words.get("bad_words", ()) for token in word]
        keys = {word: key for key, (word, _) in WORDS.items()} | {"start": self.start}
        for word, tokens in named.items():
            if any(token >= vocab_size for token in tokens):
                what = f"names token {max(tokens)}, the model has {vocab_size}"
                raise CheckpointError(Problem(what, keys[word], str(self.file)))


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _above(least: float, most: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and least < value <= most and math.isfinite(value)


COUNT: Check = ("a whole number", _whole)
ONE_OR_MORE: Check = ("a whole number of 1 or more", lambda value: _whole(value) and value > 0)
TOKEN: Check = ("a token", _whole)
TOKENS: Check = ("a token or a list of tokens", lambda value: _whole(value) or (isinstance(value, list) and all(map(_whole, value))))
WORD_LISTS: Check = (
    "a list of lists of tokens",
    lambda value: isinstance(value, list) and all(isinstance(word, list) and word and all(map(_whole, word)) for word in value),
)
FLAG: Check = ("true or false", lambda value: isinstance(value, bool))
SHARE: Check = ("a share above 0 and at most 1", _above(0, 1))

WORDS: dict[str, tuple[str, Check]] = {
    "repetition_penalty": ("repetition_penalty", ("a number above 0", _above(0))),
    "no_repeat_ngram_size": ("no_repeat_ngram", COUNT),
    "min_new_tokens": ("min_tokens", COUNT),
    "min_length": ("min_length", COUNT),
    "bad_words_ids": ("bad_words", WORD_LISTS),
    "suppress_tokens": ("suppressed", TOKENS),
    "begin_suppress_tokens": ("suppressed_first", TOKENS),
    "forced_bos_token_id": ("forced_first", TOKEN),
    "forced_eos_token_id": ("forced_last", TOKENS),
    "renormalize_logits": ("renormalize", FLAG),
    "eos_token_id": ("end", TOKENS),
    "decoder_start_token_id": ("start", TOKEN),
    "num_return_sequences": ("texts", ONE_OR_MORE),
}
DRAWING: dict[str, tuple[str, Check]] = {
    "temperature": ("temperature", ("a number above 0", _above(0))),
    "top_k": ("top_k", COUNT),
    "top_p": ("top_p", SHARE),
    "min_p": ("min_p", ("a share from 0 to 1", lambda value: value == 0 or _above(0, 1)(value))),
}
SEARCHING: dict[str, tuple[str, Check]] = {
    "num_beams": ("beams", ONE_OR_MORE),
    "length_penalty": ("length_penalty", ("a number", _above(-math.inf))),
    "early_stopping": ("early_stopping", ('true, false or "never"', lambda value: isinstance(value, bool) or value == "never")),
}
NEUTRAL: dict[str, tuple[Any, ...]] = {  # keys without a word, and the values with which they change nothing
    "typical_p": (1.0,), "top_h": (), "epsilon_cutoff": (0.0,), "eta_cutoff": (0.0,), "encoder_repetition_penalty": (1.0,),
    "encoder_no_repeat_ngram_size": (0,), "exponential_decay_length_penalty": (), "sequence_bias": ({}, []), "guidance_scale": (1.0,),
    "diversity_penalty": (0.0,), "num_beam_groups": (1,), "penalty_alpha": (0.0,), "constraints": (), "force_words_ids": (),
    "dola_layers": (), "watermarking_config": (), "stop_strings": ("", []), "max_time": (),
}  # fmt: skip
TUPLES = {"end", "suppressed", "suppressed_first", "forced_last"}


def read_habits(path: Path) -> Habits | None:
    """What a folder says; None where it has no config.json. Raises CheckpointError for a value that cannot be meant."""
    file = path / FILE if (path / FILE).exists() else path / CONFIG
    if not file.exists():
        return None
    said = read_json(file)
    if not isinstance(said, dict):
        raise CheckpointError(Problem("is no mapping", where=str(file)))
    if file.name == CONFIG and "model_type" not in said:
        return Habits(file)  # of a preset, which says nothing of writing
    words = _read(said, WORDS, file)
    first = _read(said, {"bos_token_id": ("bos", TOKEN)}, file)
    start = "decoder_start_token_id" if "start" in words else "bos_token_id"
    if first:
        words.setdefault("start", first["bos"])
        if said.get("force_bos_token_to_be_generated") is True:
            words.setdefault("forced_first", first["bos"])
    draws = said.get("do_sample") is True
    searching = _read(said, SEARCHING, file)
    if searching.get("beams", 1) > 1:
        words |= searching
    elif draws:
        words |= {"temperature": 1.0, "top_k": CANDIDATES} | _read(said, DRAWING, file)
        words = {word: value for word, value in words.items() if (word, value) not in (("top_k", 0), ("min_p", 0), ("top_p", 1.0))}
    if "beams" not in words and not draws:
        words["temperature"] = 0.0
    unheard = [key for key, neutral in NEUTRAL.items() if said.get(key) is not None and said[key] not in neutral]
    lengths = _read(said, {"max_new_tokens": ("new", ONE_OR_MORE), "max_length": ("whole", ONE_OR_MORE)}, file)
    return Habits(file, words, unheard=(*unheard, *(["do_sample"] if draws and "beams" in words else [])), start=start, **lengths)


def _read(said: Mapping[str, Any], table: Mapping[str, tuple[str, Check]], file: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, (word, (expected, fits)) in table.items():
        value = said.get(key)
        if value is None or (value == NONE and word in ("bos", "end")):
            continue
        if not fits(value):
            raise CheckpointError(Problem(f"expected {expected}, got {value!r}"[:120], key, str(file)))
        found[word] = _tuple(value) if word in TUPLES else tuple(map(tuple, value)) if word == "bad_words" else value
    return found


def _tuple(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) else (value,)
