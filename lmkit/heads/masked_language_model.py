"""Masked language modelling (BERT): the hidden tokens from both sides, with logits only at their places."""

from typing import Any

from keras import ops

from lmkit.heads.cross_entropy import row_sums
from lmkit.heads.transform import build_parts, transformed
from lmkit.heads.vocabulary import VocabularyHead
from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear


def gather_rows(hidden_BTD: Any, where_BM: Any) -> Any:
    """The hidden states at the places `where` of each row: [B, M, D]."""
    batch, length, width = ops.shape(hidden_BTD)
    first = ops.expand_dims(ops.arange(batch, dtype="int32") * length, 1)
    places = ops.reshape(ops.cast(where_BM, "int32") + first, (-1,))
    flat = ops.take(ops.reshape(hidden_BTD, (-1, width)), places, axis=0)
    return ops.reshape(flat, (batch, ops.shape(where_BM)[1], width))


class MaskedLanguageModelHead(VocabularyHead):
    """Scores of norm(activation(hidden W + b)), W [D, E]; `transform_norm` is a norm over E, the width of the token table."""

    causal = False

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        *,
        transform_norm: Layer,
        activation: str = "gelu",
        transform_bias: bool = True,
        bias: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(hidden_size, vocab_size, bias=bias, **options)
        self.activation, self.transform_bias, self.transform_norm = activation, transform_bias, transform_norm
        shared = {"bias": transform_bias, "dtype": self.dtype_policy}
        self.transform = Linear(hidden_size, self.embedding_size or hidden_size, name="transform", **shared)

    def build(self, input_shape: Any = None) -> None:
        build_parts(self.transform, self.transform_norm)
        self.build_output()

    def logits(self, hidden: Any, embedding: Any) -> Any:
        """hidden [..., D] -> [..., V] in the dtype of `hidden`."""
        return self.scores(self.transformed(hidden), embedding)

    def transformed(self, hidden: Any) -> Any:
        """hidden [..., D] -> [..., E]."""
        return transformed(hidden, self.transform, self.activation, self.transform_norm)

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any, row_key: Any = None) -> dict[str, Any]:
        labels = batch[f"{self.name}/labels"]
        chosen = gather_rows(hidden_BTD, batch[f"{self.name}/where"])
        x_NE = self.transformed(ops.reshape(chosen, (-1, self.hidden_size)))
        loss, correct, predicted = self.judged(x_NE, ops.reshape(labels, (-1,)), embedding)
        sums = row_sums(batch[f"{self.name}/weights"], loss=loss, correct=correct)
        return sums | {"predicted": ops.reshape(predicted, ops.shape(labels))}
