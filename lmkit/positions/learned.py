"""Learned positions: a trained vector for each position (BERT, GPT-2)."""

from typing import Any

from keras import ops

from lmkit.layers.layer import Layer
from lmkit.layers.weights import Normal, add_weight


class LearnedPosition(Layer):
    """positions int[B, T] below `max_length` -> vectors float32 [B, T, D]."""

    slot = "embedding"

    def __init__(self, max_length: int, hidden_size: int, *, stddev: float = 0.02, **options: Any) -> None:
        super().__init__(**options)
        self.max_length, self.hidden_size, self.stddev = max_length, hidden_size, stddev

    def build(self, input_shape: Any = None) -> None:
        self.embedding = add_weight(self, "embedding", (self.max_length, self.hidden_size), Normal(self.stddev), ("length", "hidden"))

    def call(self, positions: Any) -> Any:
        return ops.take(self.embedding, positions, axis=0)
