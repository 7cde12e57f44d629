"""From settings to what continues texts: a search where there are beams, else draws."""

from lmkit.generation.beams import BeamSearch
from lmkit.generation.cached import Cached
from lmkit.generation.decode import Generator
from lmkit.generation.settings import Settings


def build_generator(model: Cached, words: Settings, *, tokens_per_call: int = 64) -> Generator | BeamSearch:
    """Both have `generate(prompts, max_tokens=...)`; only draws know seeds and listeners."""
    return (BeamSearch if words.beams > 1 else Generator)(model, words, tokens_per_call=tokens_per_call)
