"""What writes texts with a trained model: the head that has learned to, and the settings that go with how it was trained."""

from collections.abc import Sequence
from typing import Any

from lmkit.errors import Problem, SpecError
from lmkit.generation.beams import BeamSearch
from lmkit.generation.build import build_generator
from lmkit.generation.cached import Cached, CachedDecoder, CachedEncoderDecoder
from lmkit.generation.decode import Generator
from lmkit.generation.settings import Settings
from lmkit.heads.model import Model
from lmkit.models.encoder_decoder import EncoderDecoderBackbone
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.spec import CausalLm, DirectPreference, PrefixLm, Seq2seq
from lmkit.text.tokenizer import Tokenizer


def generator_of(spec: RunSpec, model: Model, words: Settings, name: str | None = None) -> Generator | BeamSearch:
    """What continues texts with the head of the spec's causal_lm task, or answers them with that of a seq2seq task: of the task
    `name`, or of the first such.

    Raises SpecError when there is no such task, and when nothing says what a decoder beside an encoder begins with.
    """
    name = name or written_by(spec)
    return build_generator(_cached(spec, model, name, words.start), words)


def written_by(spec: RunSpec) -> str:
    """The first task that writes texts. Raises SpecError where there is none, since no other head has learned to."""
    name = next((name for name, task in spec.tasks.items() if isinstance(task, CausalLm | DirectPreference | Seq2seq | PrefixLm)), None)
    if name is None:
        raise SpecError(Problem("no task is a causal_lm, prefix_lm or seq2seq, so this model cannot write a text", "tasks"))
    return name


def own_words(tokenizer: Tokenizer, ends: Sequence[int] = (), start: int | None = None) -> dict[str, Any]:
    """Settings of a model that was trained here: no special tokens ever come but the end of a document, or others of `ends`.

    Beside an encoder, a decoder that begins with `start` writes first what stands before every text that it has learned.
    """
    end = (*((tokenizer.eos,) if tokenizer.eos >= 0 else ()), *ends)
    first = [] if start is None else [index for index, _ in tokenizer.template.behind(start).written.gaps[0]][:1]
    words = {"end": end, "suppressed": tuple(sorted(tokenizer.specials - {*end, *first}))}
    return words | ({"forced_first": first[0]} if first else {})


def _cached(spec: RunSpec, model: Model, name: str, start: int | None) -> Cached:
    body, head, context = model.backbone, model.heads[name], spec.data.max_length
    if not isinstance(body, EncoderDecoderBackbone):
        return CachedDecoder(body, head, context=context, both_ways=isinstance(spec.tasks[name], PrefixLm))
    start = body.start_id if start is None else start
    if start is None:
        raise SpecError(Problem("nothing says which token the decoder begins with; add start_id: ...", "model.start_id"))
    return CachedEncoderDecoder(body, head, start=start, context=context)
