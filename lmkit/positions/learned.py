"""Learned positions: a trained vector for each position (BERT, GPT-2)."""

from typing import Any

from keras import ops

from lmkit.layers.layer import Layer
from lmkit.layers.weights import Normal, add_weight


def places(tokens_BT: Any, padding_id: int) -> Any:
    """int32 [B, T]: how many tokens other than padding stand before each (RoBERTa)."""
    real = ops.cast(ops.not_equal(tokens_BT, padding_id), "int32")
    return ops.maximum(ops.cumsum(real, axis=1) - 1, 0)


class LearnedPosition(Layer):
    """positions int[B, T] below `max_length` -> vectors [B, T, D].

    Position p reads row p + `offset`; tokens equal to `padding_id` read that row instead.
    """

    slot = "embedding"

    def __init__(
        self,
        max_length: int,
        hidden_size: int,
        *,
        offset: int = 0,
        padding_id: int | None = None,
        stddev: float = 0.02,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.max_length, self.hidden_size, self.stddev = max_length, hidden_size, stddev
        self.offset, self.padding_id = offset, padding_id

    def build(self, input_shape: Any = None) -> None:
        shape = (self.offset + self.max_length, self.hidden_size)
        self.embedding = add_weight(self, "embedding", shape, Normal(self.stddev), ("length", "hidden"))

    def call(self, positions: Any, tokens: Any = None) -> Any:
        rows = positions + self.offset if self.offset else positions
        if self.padding_id is not None and tokens is not None:
            rows = ops.where(ops.equal(tokens, self.padding_id), self.padding_id, rows)
        return ops.take(self.embedding, rows, axis=0)
