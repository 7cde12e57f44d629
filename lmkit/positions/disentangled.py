"""Distances as vectors of their own, which attention scores against queries and keys (DeBERTa, He et al. 2021)."""

from typing import Any

import numpy as np
from keras import ops

from lmkit.layers.layer import Layer
from lmkit.layers.weights import Normal, add_weight


def steps_of(max_distance: int, buckets: int | None = None) -> np.ndarray:
    """int32 [max_distance + 1]: how many rows from the middle of the table each distance stands.

    With `buckets` small distances have a row each, larger ones share, in logarithmic steps up to `max_distance`.
    """
    distance = np.arange(max_distance + 1)
    if buckets is None:
        return distance.astype(np.int32)
    middle = buckets // 2
    ratio = (np.maximum(distance, middle) / middle).astype(np.float32)
    steps = np.log(ratio) / np.log(np.float32((max_distance - 1) / middle)) * np.float32(middle - 1)
    return np.where(distance <= middle, distance, np.ceil(steps) + middle).astype(np.int32)


class DisentangledPosition(Layer):
    """Slot numbers of queries and keys -> vectors float32 [2P, D], and the row of each pair's distance, int32 [B or 1, T, S].

    P is `buckets` or else `max_distance`; a key at the query's place has row P.
    """

    slot = "distance"

    def __init__(
        self,
        hidden_size: int,
        *,
        max_distance: int,
        buckets: int | None = None,
        norm: Layer | None = None,
        stddev: float = 0.02,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.max_distance, self.buckets, self.norm, self.stddev = hidden_size, max_distance, buckets, norm, stddev
        self.span = buckets or max_distance

    def build(self, input_shape: Any = None) -> None:
        shape = (2 * self.span, self.hidden_size)
        self.embedding = add_weight(self, "embedding", shape, Normal(self.stddev), ("distances", "hidden"))
        if self.norm is not None:
            self.norm.build()

    def call(self, query_index: Any, key_index: Any) -> tuple[Any, Any]:
        distance = ops.expand_dims(query_index, 2) - ops.expand_dims(key_index, 1)
        steps = ops.take(steps_of(self.max_distance, self.buckets), ops.minimum(ops.abs(distance), self.max_distance), axis=0)
        row = ops.clip(self.span + ops.where(distance < 0, -steps, steps), 0, 2 * self.span - 1)
        vectors = ops.cast(self.embedding, "float32")
        return (vectors if self.norm is None else self.norm(vectors)), row
