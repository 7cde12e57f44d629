"""Disentangled scores: queries against the vectors of distances, and these against keys (DeBERTa, He et al. 2021)."""

from collections.abc import Callable
from typing import Any

from keras import ops

from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear


def pairs(x_BTNH: Any, vectors_RNH: Any, row: Any) -> Any:
    """[B, N, T, S]: x of place t times the vector in row `row[t, s]`; row int[B or 1, T, S]."""
    batch, length, heads = ops.shape(x_BTNH)[:3]
    scores_BNTR = ops.matmul(ops.transpose(x_BTNH, (0, 2, 1, 3)), ops.transpose(vectors_RNH, (1, 2, 0)))
    index = ops.broadcast_to(ops.expand_dims(row, 1), (batch, heads, length, ops.shape(row)[2]))
    return ops.take_along_axis(scores_BNTR, index, axis=-1)


class DistanceScores(Layer):
    """q . key(distance), if `content_to_position`, plus query(distance) . k, if `position_to_content`.

    The vectors of distances go through the attention's own projections or, unless `shared`, through two that stand here.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        *,
        content_to_position: bool = True,
        position_to_content: bool = True,
        shared: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.num_heads, self.num_kv_heads, self.head_dim = hidden_size, num_heads, num_kv_heads, head_dim
        self.content_to_position, self.position_to_content, self.shared = content_to_position, position_to_content, shared
        into: dict[str, Any] = {"axes": ("hidden", "heads"), "dtype": self.dtype_policy}
        asks, answers = position_to_content and not shared, content_to_position and not shared
        self.query = Linear(hidden_size, num_heads * head_dim, name="query", **into) if asks else None
        self.key = Linear(hidden_size, num_kv_heads * head_dim, name="key", **into) if answers else None

    def build(self, input_shape: Any = None) -> None:
        for part in (self.query, self.key):
            if part is not None:
                part.build()

    def call(self, q: Any, k: Any, vectors_RD: Any, row: Any, *, queries: Callable[[Any], Any], keys: Callable[[Any], Any]) -> Any:
        """q [B, T, N, H] and k [B, S, K, H] -> [B, N, T, S]; `queries` and `keys` are the attention's projections."""
        vectors = ops.expand_dims(ops.cast(vectors_RD, q.dtype), 0)
        group = self.num_heads // self.num_kv_heads
        scores = []
        if self.content_to_position:
            found = keys(vectors) if self.key is None else self._heads(self.key(vectors), self.num_kv_heads)
            scores.append(pairs(q, ops.squeeze(ops.repeat(found, group, axis=2), 0), row))
        if self.position_to_content:
            found = queries(vectors) if self.query is None else self._heads(self.query(vectors), self.num_heads)
            turned = pairs(ops.repeat(k, group, axis=2), ops.squeeze(found, 0), ops.transpose(row, (0, 2, 1)))
            scores.append(ops.transpose(turned, (0, 1, 3, 2)))
        return sum(scores[1:], scores[0])

    def _heads(self, x: Any, number: int) -> Any:
        return ops.reshape(x, (*ops.shape(x)[:2], number, self.head_dim))
