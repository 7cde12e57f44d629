"""From words to settings, and from these to what continues texts: a search where there are beams, else draws."""

from typing import Any, assert_never

from lmkit.generation.beams import BeamSearch
from lmkit.generation.cached import Cached
from lmkit.generation.decode import Generator
from lmkit.generation.settings import Settings
from lmkit.generation.spec import AnyDecoding, Beam, Draw, Greedy


def build_generator(model: Cached, words: Settings, *, tokens_per_call: int = 64) -> Generator | BeamSearch:
    """Both have `generate(prompts, max_tokens=...)`; only draws know seeds and listeners."""
    return (BeamSearch if words.beams > 1 else Generator)(model, words, tokens_per_call=tokens_per_call)


def decoding_words(decode: AnyDecoding) -> dict[str, Any]:
    """What the words of a spec are in settings.py."""
    shared = {
        "min_tokens": decode.min_new_tokens,
        "no_repeat_ngram": decode.no_repeat_ngram,
        "repetition_penalty": decode.repetition_penalty,
    }
    match decode:
        case Greedy():
            return shared | {"temperature": 0.0}
        case Beam():
            own = {"beams": decode.beams, "length_penalty": decode.length_penalty, "early_stopping": decode.early_stopping}
            return shared | {"temperature": 0.0} | own
        case Draw():
            return shared | {key: getattr(decode, key) for key in ("temperature", "top_k", "top_p", "min_p")}
        case _:
            assert_never(decode)
