"""Samples of what a model writes while it is trained."""

from dataclasses import replace

from lmkit.errors import Problem, SpecError
from lmkit.generation.beams import BeamSearch
from lmkit.generation.build import build_generator
from lmkit.generation.cached import CachedDecoder
from lmkit.generation.decode import Generator
from lmkit.generation.settings import Settings
from lmkit.heads.model import Model
from lmkit.run.spec import RunSpec
from lmkit.tasks.spec import CausalLm
from lmkit.text.tokenizer import Tokenizer

SAMPLE_TOKENS = 64


def generator_of(spec: RunSpec, model: Model, tokenizer: Tokenizer, words: Settings) -> Generator | BeamSearch:
    """What continues texts with the head of the spec's causal_lm task; special tokens but the end of a document never come.

    Raises SpecError when there is none, since only such a head has learned to continue a text.
    """
    name = next((name for name, task in spec.tasks.items() if isinstance(task, CausalLm)), None)
    if name is None:
        raise SpecError(Problem("no task is a causal_lm, so this model cannot continue a text", "tasks"))
    head = model.heads[name]
    cached = CachedDecoder(
        model.backbone, lambda hidden: head.logits(hidden, model.backbone.token_embedding), context=spec.data.max_length
    )  # fmt: skip
    end = (tokenizer.eos,) if tokenizer.eos >= 0 else ()
    return build_generator(cached, replace(words, end=end, suppressed=tuple(sorted(tokenizer.specials - set(end)))))


class Samples:
    """Continuations of `logging.samples` by the model as it is when asked, the same draws each time."""

    def __init__(self, spec: RunSpec, model: Model, tokenizer: Tokenizer) -> None:
        self._prompts, self._tokenizer = list(spec.logging.samples), tokenizer
        self._generator = generator_of(spec, model, tokenizer, Settings(temperature=0.8)) if self._prompts else None

    def texts(self) -> dict[str, str]:
        """Prompt to continuation; nothing where the spec asks for none."""
        if self._generator is None:
            return {}
        found = self._generator.generate([ids.tolist() for ids in self._tokenizer.encode(self._prompts)], max_tokens=SAMPLE_TOKENS)
        return {prompt: self._tokenizer.decode(one.ids) for prompt, one in zip(self._prompts, found, strict=True)}

    def markdown(self) -> str:
        """For TensorBoard."""
        return "\n\n".join(f"**{prompt}**\n```\n{prompt}{text}\n```" for prompt, text in self.texts().items())
