"""Samples of what a model writes while it is trained."""

from collections.abc import Sequence
from typing import Any

from lmkit.errors import Problem, SpecError
from lmkit.generation.beams import BeamSearch
from lmkit.generation.build import build_generator
from lmkit.generation.cached import Cached, CachedDecoder, CachedEncoderDecoder
from lmkit.generation.decode import Generator
from lmkit.generation.settings import Settings
from lmkit.heads.head import Head
from lmkit.heads.model import Model
from lmkit.models.encoder_decoder import EncoderDecoderBackbone
from lmkit.run.material import start_of
from lmkit.run.spec import RunSpec
from lmkit.tasks.spec import CausalLm, Seq2seq
from lmkit.text.tokenizer import Tokenizer

SAMPLE_TOKENS = 64


def generator_of(spec: RunSpec, model: Model, words: Settings, name: str | None = None) -> Generator | BeamSearch:
    """What continues texts with the head of the spec's causal_lm task, or answers them with that of a seq2seq task: of the task
    `name`, or of the first such.

    Raises SpecError when there is no such task, since no other head has learned to write, and when nothing says what a
    decoder beside an encoder begins with.
    """
    name = name or next((name for name, task in spec.tasks.items() if isinstance(task, CausalLm | Seq2seq)), None)
    if name is None:
        raise SpecError(Problem("no task is a causal_lm or seq2seq, so this model cannot write a text", "tasks"))
    return build_generator(_cached(spec, model, model.heads[name], words.start), words)


def own_words(tokenizer: Tokenizer, ends: Sequence[int] = (), start: int | None = None) -> dict[str, Any]:
    """Settings of a model that was trained here: no special tokens ever come but the end of a document, or others of `ends`.

    Beside an encoder, a decoder that begins with `start` writes first what stands before every text that it has learned.
    """
    end = (*((tokenizer.eos,) if tokenizer.eos >= 0 else ()), *ends)
    first = [] if start is None else [index for index, _ in tokenizer.template.behind(start).written.gaps[0]][:1]
    words = {"end": end, "suppressed": tuple(sorted(tokenizer.specials - {*end, *first}))}
    return words | ({"forced_first": first[0]} if first else {})


def _cached(spec: RunSpec, model: Model, head: Head, start: int | None) -> Cached:
    body, context = model.backbone, spec.data.max_length
    if not isinstance(body, EncoderDecoderBackbone):
        return CachedDecoder(body, head, context=context)
    start = body.start_id if start is None else start
    if start is None:
        raise SpecError(Problem("nothing says which token the decoder begins with; add start_id: ...", "model.start_id"))
    return CachedEncoderDecoder(body, head, start=start, context=context)


class Samples:
    """Continuations of `logging.samples` by the model as it is when asked, the same draws each time."""

    def __init__(self, spec: RunSpec, model: Model, tokenizer: Tokenizer) -> None:
        self._prompts, self._tokenizer = list(spec.logging.samples), tokenizer
        words = Settings(temperature=0.8, **own_words(tokenizer, start=start_of(spec)))
        self._generator = generator_of(spec, model, words) if self._prompts else None

    def texts(self) -> dict[str, str]:
        """Prompt to continuation; nothing where the spec asks for none."""
        if self._generator is None:
            return {}
        found = self._generator.generate([ids.tolist() for ids in self._tokenizer.encode(self._prompts)], max_tokens=SAMPLE_TOKENS)
        return {prompt: self._tokenizer.decode(one.ids) for prompt, one in zip(self._prompts, found, strict=True)}

    def markdown(self) -> str:
        """For TensorBoard."""
        return "\n\n".join(f"**{prompt}**\n```\n{prompt}{text}\n```" for prompt, text in self.texts().items())
