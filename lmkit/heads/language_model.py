"""Causal language modelling: the next token from each hidden state."""

from typing import Any

from keras import ops

from lmkit.heads.cross_entropy import row_losses
from lmkit.heads.head import Head
from lmkit.layers.linear import Linear, linear


class LanguageModelHead(Head):
    """logits = hidden @ embedding^T when tied, else hidden @ output kernel [D, V]; no bias."""

    causal = True

    def __init__(self, hidden_size: int, vocab_size: int, *, tied: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.hidden_size, self.vocab_size, self.tied = hidden_size, vocab_size, tied
        shared = {"bias": False, "axes": ("hidden", "vocab"), "dtype": self.dtype_policy}
        self.out = None if tied else Linear(hidden_size, vocab_size, name="output", **shared)

    def build(self, input_shape: Any = None) -> None:
        if self.out is not None:
            self.out.build()

    def logits(self, hidden: Any, embedding: Any) -> Any:
        """hidden [..., D] -> [..., V] in the dtype of `hidden`."""
        return project(hidden, embedding) if self.out is None else self.out(hidden)

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any, row_key: Any = None) -> dict[str, Any]:
        labels = batch[f"{self.name}/labels"]
        logits_NV = self.logits(ops.reshape(hidden_BTD, (-1, self.hidden_size)), embedding)
        predicted = ops.reshape(ops.argmax(logits_NV, axis=-1), ops.shape(labels))
        return row_losses(logits_NV, labels, batch[f"{self.name}/weights"]) | {"predicted": predicted}


def project(hidden: Any, embedding_VD: Any) -> Any:
    """hidden [..., D] onto every row of the token table: [..., V]."""
    return linear(hidden, ops.transpose(ops.cast(embedding_VD, hidden.dtype)))
