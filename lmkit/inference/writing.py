"""Texts that a seq2seq task writes: from its words on decoding to what the model makes of many texts."""

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import numpy as np

from lmkit.checkpoints.hub.generation import Habits
from lmkit.data.prompts import most_read, prompting
from lmkit.generation.beams import BeamSearch
from lmkit.generation.build import decoding_words
from lmkit.generation.settings import Settings
from lmkit.generation.spec import Greedy
from lmkit.inference.generator import generator_of, own_words, start_of
from lmkit.inference.manner import most_new
from lmkit.inference.opened import OpenedModel
from lmkit.tasks.spec import Seq2seq
from lmkit.text.tokenizer import Tokenizer


class Writer:
    """Writes a text to each of some texts, as the task `name` says; what is written to one does not depend on the others.

    Where the task says nothing of decoding, an imported model follows its makers' `habits`.
    """

    def __init__(self, opened: OpenedModel, name: str, habits: Habits | None = None) -> None:
        task, tokenizer, data = opened.tasks[name], opened.tokenizer, opened.data
        assert isinstance(task, Seq2seq)
        words: dict[str, Any] = own_words(tokenizer, start=start_of(opened.model)) | decoding_words(task.decode)
        most = task.decode.max_new_tokens or data.target_length
        if habits is not None and opened.imported and task.decode == Greedy():
            words, most = {"end": tokenizer.ends} | habits.words, most_new(None, habits, 1)
        self.generator = generator_of(opened.tasks, opened.model, Settings(**words), name, context=data.max_length)
        self.tokenizer, self.most, self.seed = tokenizer, most, opened.seed
        self.alone = None if self.generator.model.prefix else prompter(tokenizer, task, data.max_length, most)
        self.prefix, self.longest = task.prefix, data.max_length

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """A text for each text."""
        if self.alone is not None:
            return self.write(self.alone(texts))
        rows = self.tokenizer.rows([self.prefix + text for text in texts], max_length=self.longest)
        return self.write([row.ids.tolist() for row in rows])

    def write(self, rows: Sequence[list[int]]) -> list[str]:
        """A text for each row of ids, as the encoder or else the decoder reads them; to nothing, nothing."""
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


def prompter(tokenizer: Tokenizer, task: Seq2seq, room: int, most: int) -> Callable[[Sequence[str]], list[list[int]]]:
    """A function from texts to what a decoder alone reads before it answers, up to `most` tokens, in `room`: as rows are in training."""
    separator = tokenizer.encode([task.separator], specials=False)[0].tolist()
    longest = most_read(room, most, prompting(tokenizer.template, separator))

    def prompts(texts: Sequence[str]) -> list[list[int]]:
        found = tokenizer.encode([task.prefix + text for text in texts], specials=False)
        return [[*ids[:longest].tolist(), *separator] for ids in found]

    return prompts
