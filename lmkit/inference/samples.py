"""Samples of what a model writes while it is trained."""

from collections.abc import Sequence

from lmkit.generation.beams import BeamSearch
from lmkit.generation.settings import Settings
from lmkit.inference.generator import generator_of, own_words, written_by
from lmkit.inference.opened import OpenedModel
from lmkit.inference.writing import Writer
from lmkit.tasks.spec import Seq2seq

SAMPLE_TOKENS = 64


class Samples:
    """What the model, as it is when asked, writes to these prompts: a decoder goes on with them, a seq2seq task answers them.

    The draws are the same each time.
    """

    def __init__(self, prompts: Sequence[str], opened: OpenedModel) -> None:
        self._prompts, self._tokenizer = list(prompts), opened.tokenizer
        self._writer, self._generator = None, None
        if not self._prompts:
            return
        name = written_by(opened.tasks)
        if isinstance(opened.tasks[name], Seq2seq):
            self._writer = Writer(opened, name)
        else:
            words = Settings(temperature=0.8, **own_words(opened.tokenizer))
            self._generator = generator_of(opened.tasks, opened.model, words, name, context=opened.data.max_length)

    def texts(self) -> dict[str, str]:
        """Prompt to continuation, or to the answer on a line of its own; nothing where there are no prompts."""
        if self._writer is not None:
            return {prompt: f"\n{text}" for prompt, text in zip(self._prompts, self._writer(self._prompts), strict=True)}
        if self._generator is None:
            return {}
        assert not isinstance(self._generator, BeamSearch)
        sided = self._generator.model.prefix
        ids = [row.ids for row in self._tokenizer.rows(self._prompts)] if sided else self._tokenizer.encode(self._prompts)
        found = self._generator.generate([one.tolist() for one in ids], max_tokens=SAMPLE_TOKENS)
        return {prompt: self._tokenizer.decode(one.ids) for prompt, one in zip(self._prompts, found, strict=True)}

    def markdown(self) -> str:
        """For TensorBoard."""
        return "\n\n".join(f"**{prompt}**\n```\n{prompt}{text}\n```" for prompt, text in self.texts().items())
