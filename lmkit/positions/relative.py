"""Relative positions by buckets: a trained number for each head and range of distances, added to the scores (T5, Raffel et al. 2020)."""

import math
from typing import Any

import numpy as np
from keras import ops

from lmkit.layers.layer import Layer
from lmkit.layers.weights import Normal, add_weight


def buckets_of(num_buckets: int, max_distance: int) -> np.ndarray:
    """int32 [max_distance + 1]: the bucket of each distance to one side.

    The first half of the buckets hold one distance each, the others share, in logarithmic steps up to `max_distance`.
    """
    exact = num_buckets // 2
    distance = np.arange(max_distance + 1)
    ratio = (np.maximum(distance, 1) / exact).astype(np.float32)
    steps = np.log(ratio) / np.float32(math.log(max(max_distance, exact + 1) / exact)) * np.float32(num_buckets - exact)
    far = np.minimum(exact + steps.astype(np.int64), num_buckets - 1)
    return np.where(distance < exact, distance, far).astype(np.int32)


def bucket(distance: Any, *, num_buckets: int, max_distance: int, bidirectional: bool) -> Any:
    """int32: the bucket of `distance` = key - query.

    With `bidirectional` half of the buckets are for keys before the query and half for those after; else keys after are in
    bucket 0. The steps are looked up, since a logarithm that is one bit off would miss their edges.
    """
    side = num_buckets // 2 if bidirectional else num_buckets
    back = ops.abs(distance) if bidirectional else ops.maximum(-distance, 0)
    found = ops.take(buckets_of(side, max_distance), ops.minimum(back, max_distance), axis=0)
    return found + ops.where(distance > 0, side, 0) if bidirectional else found


class RelativePosition(Layer):
    """Slot numbers of queries and keys -> additive bias of the scores, [B or 1, N, T, S]."""

    slot = "bias"
    skips_padding = False

    def __init__(
        self,
        num_heads: int,
        *,
        num_buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
        stddev: float = 0.02,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_heads, self.num_buckets, self.max_distance = num_heads, num_buckets, max_distance
        self.bidirectional, self.stddev = bidirectional, stddev

    def build(self, input_shape: Any = None) -> None:
        self.embedding = add_weight(self, "embedding", (self.num_buckets, self.num_heads), Normal(self.stddev), ("buckets", "heads"))

    def call(self, query_index: Any, key_index: Any) -> Any:
        distance = ops.expand_dims(key_index, 1) - ops.expand_dims(query_index, 2)
        sizes = {"num_buckets": self.num_buckets, "max_distance": self.max_distance}
        return ops.transpose(ops.take(self.embedding, bucket(distance, bidirectional=self.bidirectional, **sizes), axis=0), (0, 3, 1, 2))
