"""Texts that a seq2seq task writes: from its words on decoding to what the model makes of many texts."""

from collections.abc import Sequence
from typing import Any, assert_never
from zlib import crc32

import numpy as np

from lmkit.checkpoints.hub.generation import Habits
from lmkit.generation.beams import BeamSearch
from lmkit.generation.settings import Settings
from lmkit.heads.model import Model
from lmkit.run.generator import generator_of, own_words
from lmkit.run.manner import most_new
from lmkit.run.material import start_of
from lmkit.run.spec import RunSpec
from lmkit.tasks.spec import AnyDecoding, Beam, Draw, Greedy, Seq2seq
from lmkit.text.tokenizer import Tokenizer


class Writer:
    """Writes a text to each of some texts, as the task `name` says; what is written to one does not depend on the others.

    Where the task says nothing of decoding, an imported model follows its makers' `habits`.
    """

    def __init__(self, spec: RunSpec, model: Model, tokenizer: Tokenizer, name: str, habits: Habits | None = None) -> None:
        task = spec.tasks[name]
        assert isinstance(task, Seq2seq)
        words: dict[str, Any] = own_words(tokenizer, start=start_of(spec)) | decoding_words(task.decode)
        most = task.decode.max_new_tokens or spec.data.target_length
        if habits is not None and spec.imported and task.decode == Greedy():
            words, most = {"end": tokenizer.ends} | habits.words, most_new(None, habits, 1)
        self.generator = generator_of(spec, model, Settings(**words), name)
        self.tokenizer, self.prefix, self.longest, self.most, self.seed = tokenizer, task.prefix, spec.data.max_length, most, spec.seed

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """A text for each text."""
        rows = self.tokenizer.rows([self.prefix + text for text in texts], max_length=self.longest)
        return self.write([row.ids.tolist() for row in rows])

    def write(self, rows: Sequence[list[int]]) -> list[str]:
        """A text for each row of ids, as the encoder reads them; to nothing, nothing."""
        order = sorted((i for i, row in enumerate(rows) if len(row)), key=lambda i: len(rows[i]))
        prompts = [rows[i] for i in order]
        if isinstance(self.generator, BeamSearch):
            made = self.generator.generate(prompts, max_tokens=self.most)
        else:
            keys = [crc32(np.asarray(prompt, np.int32).tobytes()) for prompt in prompts]
            made = self.generator.generate(prompts, max_tokens=self.most, seed=self.seed, row_keys=keys)
        found = [""] * len(rows)
        for i, one in zip(order, made, strict=True):
            found[i] = self.tokenizer.decode(one.ids).strip()
        return found


def decoding_words(decode: AnyDecoding) -> dict[str, Any]:
    """The words of generation/settings.py."""
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
