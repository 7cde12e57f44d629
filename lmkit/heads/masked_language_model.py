"""Masked language modelling (BERT): the hidden tokens from both sides, with logits only at their places."""

from typing import Any

from keras import ops

from lmkit.heads.cross_entropy import row_losses
from lmkit.heads.head import Head
from lmkit.heads.language_model import project
from lmkit.layers.activations import activation
from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear
from lmkit.layers.weights import add_weight


def gather_rows(hidden_BTD: Any, where_BM: Any) -> Any:
    """The hidden states at the places `where` of each row: [B, M, D]."""
    batch, length, width = ops.shape(hidden_BTD)
    first = ops.expand_dims(ops.arange(batch, dtype="int32") * length, 1)
    places = ops.reshape(ops.cast(where_BM, "int32") + first, (-1,))
    flat = ops.take(ops.reshape(hidden_BTD, (-1, width)), places, axis=0)
    return ops.reshape(flat, (batch, ops.shape(where_BM)[1], width))


class MaskedLanguageModelHead(Head):
    """logits = norm(activation(hidden W + b)) @ embedding^T + bias; untied, an output kernel [D, V] in place of the table."""

    causal = False

    def __init__(
        self, hidden_size: int, vocab_size: int, *, transform_norm: Layer, activation: str = "gelu", tied: bool = True, **options: Any
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.vocab_size, self.activation, self.tied = hidden_size, vocab_size, activation, tied
        self.transform = Linear(hidden_size, hidden_size, name="transform", dtype=self.dtype_policy)
        self.transform_norm = transform_norm
        shared = {"bias": False, "axes": ("hidden", "vocab"), "dtype": self.dtype_policy}
        self.out = None if tied else Linear(hidden_size, vocab_size, name="output", **shared)

    def build(self, input_shape: Any = None) -> None:
        for part in (self.transform, self.transform_norm, self.out):
            if part is not None:
                part.build()
        self.bias = add_weight(self, "bias", (self.vocab_size,), "zeros", ("vocab",))

    def logits(self, hidden: Any, embedding: Any) -> Any:
        """hidden [..., D] -> [..., V] in the dtype of `hidden`."""
        x = self.transform_norm(activation(self.activation)(self.transform(hidden)))
        scores = project(x, embedding) if self.out is None else self.out(x)
        return scores + ops.cast(self.bias, scores.dtype)

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any, row_key: Any = None) -> dict[str, Any]:
        labels = batch[f"{self.name}/labels"]
        chosen = gather_rows(hidden_BTD, batch[f"{self.name}/where"])
        logits_NV = self.logits(ops.reshape(chosen, (-1, self.hidden_size)), embedding)
        predicted = ops.reshape(ops.argmax(logits_NV, axis=-1), ops.shape(labels))
        return row_losses(logits_NV, labels, batch[f"{self.name}/weights"]) | {"predicted": predicted}
