"""Texts that a seq2seq task writes: from its words on decoding to what the model makes of many texts."""

from collections.abc import Callable, Sequence
from typing import Any, assert_never
from zlib import crc32

import numpy as np

from lmkit.checkpoints.hub.generation import Habits
from lmkit.generation.beams import BeamSearch
from lmkit.generation.settings import Settings
from lmkit.heads.model import Model
from lmkit.run.manner import most_new
from lmkit.run.material import start_of
from lmkit.run.samples import generator_of, own_words
from lmkit.run.spec import RunSpec
from lmkit.tasks.spec import AnyDecoding, Beam, Draw, Greedy, Seq2seq
from lmkit.text.tokenizer import Tokenizer

Write = Callable[[Sequence[str]], list[str]]


def writer(spec: RunSpec, model: Model, tokenizer: Tokenizer, name: str, habits: Habits | None = None) -> Write:
    """A function that writes a text to each of some texts, as the task `name` says; what is written to one does not depend on the
    others. Where the task says nothing of decoding, an imported model follows its makers' `habits`.
    """
    task = spec.tasks[name]
    assert isinstance(task, Seq2seq)
    words: dict[str, Any] = own_words(tokenizer, start=start_of(spec)) | decoding_words(task.decode)
    most = task.decode.max_new_tokens or spec.data.target_length
    if habits is not None and spec.imported and task.decode == Greedy():
        words, most = {"end": tokenizer.ends} | habits.words, most_new(None, habits, 1)
    generator = generator_of(spec, model, Settings(**words), name)

    def write(texts: Sequence[str]) -> list[str]:
        rows = tokenizer.rows([task.prefix + text for text in texts], max_length=spec.data.max_length)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        prompts = [rows[i].ids.tolist() for i in order]
        if isinstance(generator, BeamSearch):
            made = generator.generate(prompts, max_tokens=most)
        else:
            keys = [crc32(np.asarray(prompt, np.int32).tobytes()) for prompt in prompts]
            made = generator.generate(prompts, max_tokens=most, seed=spec.seed, row_keys=keys)
        found = [""] * len(rows)
        for i, one in zip(order, made, strict=True):
            found[i] = tokenizer.decode(one.ids).strip()
        return found

    return write


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
