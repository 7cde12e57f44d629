"""Prompts of a conversation: what a user says, put into the model's own chat template up to the answer."""

import numpy as np

from lmkit.data.conversations import asked
from lmkit.text.chat_templates import require_chat
from lmkit.text.tokenizer import Tokenizer


class Chat:
    """How a model is spoken to. `ends` are the ids that end its turn. Raises SpecError where there is no template."""

    def __init__(self, tokenizer: Tokenizer, *, system: str | None = None) -> None:
        self._tokenizer, self._template, self._system = tokenizer, require_chat(tokenizer), system
        end = self._template.turn_end
        self.ends: tuple[int, ...] = () if end is None else tuple(tokenizer.encode([end])[0].tolist())

    def ids(self, text: str) -> list[int]:
        """The ids before the answer to a text, or to the messages of a conversation as JSON. Raises DataError for wrong ones."""
        made = self._template.prompt(asked(text, self._system, "command line"), "command line")
        return np.concatenate(self._tokenizer.encode(made.parts)).tolist()
