"""What writes texts with a trained model: the head that has learned to, and the settings that go with how it was trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from lmkit.errors import Problem, SpecError
from lmkit.generation.beams import BeamSearch
from lmkit.generation.build import build_generator
from lmkit.generation.cached import Cached, CachedDecoder, CachedEncoderDecoder
from lmkit.generation.decode import Generator
from lmkit.generation.settings import Settings
from lmkit.heads.model import Model
from lmkit.models.encoder_decoder import EncoderDecoderBackbone
from lmkit.tasks.spec import AnyTask, CausalLm, DirectPreference, PrefixLm, Seq2seq
from lmkit.text.tokenizer import Tokenizer


def generator_of(
    tasks: Mapping[str, AnyTask], model: Model, words: Settings, name: str | None = None, *, context: int
) -> Generator | BeamSearch:  # fmt: skip
    """What continues texts with the head of a causal_lm task, or answers them with that of a seq2seq task: of the task `name`, or
    of the first such. `context` is how many tokens the model was trained on at once.

    Raises SpecError when there is no such task, and when nothing says what a decoder beside an encoder begins with.
    """
    name = name or written_by(tasks)
    return build_generator(_cached(tasks[name], model, name, words.start, context), words)


def written_by(tasks: Mapping[str, AnyTask]) -> str:
    """The first task that writes texts. Raises SpecError where there is none, since no other head has learned to."""
    name = next((name for name, task in tasks.items() if isinstance(task, CausalLm | DirectPreference | Seq2seq | PrefixLm)), None)
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


def start_of(model: Model) -> int | None:
    """The token that the decoder begins with, None for a single stack. Raises SpecError where nothing says which it is."""
    return _start(model.backbone) if isinstance(model.backbone, EncoderDecoderBackbone) else None


def _start(body: EncoderDecoderBackbone) -> int:
    if body.start_id is None:
        raise SpecError(Problem("nothing says which token the decoder begins with; add start_id: ...", "model.start_id"))
    return body.start_id


def _cached(task: AnyTask, model: Model, name: str, start: int | None, context: int) -> Cached:
    body, head = model.backbone, model.heads[name]
    if not isinstance(body, EncoderDecoderBackbone):
        return CachedDecoder(body, head, context=context, both_ways=isinstance(task, PrefixLm))
    return CachedEncoderDecoder(body, head, start=_start(body) if start is None else start, context=context)
