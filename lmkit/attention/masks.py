"""Which keys a query may see: a description that becomes a dense tensor only where a kernel needs one."""

from dataclasses import dataclass, replace
from typing import Any

from keras import ops

HIDDEN = -1e30  # added in float32: exp underflows to exactly 0, and stays finite where a whole row is hidden


@dataclass(frozen=True)
class Mask:
    """visible = (not causal or k <= q or k < prefix) and in the window and of the same segment and segment != 0.

    `query_index` int[B or 1, T] and `key_index` int[B or 1, S] are slot numbers: places in the row or in the cache, not
    positions, which restart in every segment. Segments int[B, T] and [B, S], both or neither, count the documents of a
    row from 1; 0 is padding. `window` w: causal, the last w keys, the query's own among them; otherwise w to each side.
    `prefix_length` int[B]: so many first keys are seen by every query. `bias` float32 [B or 1, 1 or N, T, S] is added to
    the scores (ALiBi). `distances` are vectors [R, D] and the row of each pair, int[B or 1, T, S], for attention that scores
    distances too.
    """

    query_index: Any
    key_index: Any
    query_segments: Any = None
    key_segments: Any = None
    causal: bool = False
    window: int | None = None
    prefix_length: Any = None
    bias: Any = None
    distances: tuple[Any, Any] | None = None
    computed: tuple[Any, Any] | None = None

    def dense(self) -> Any:
        """bool [B or 1, 1, T, S]: True where the query may see the key."""
        q, k = _rows(self.query_index), _columns(self.key_index)
        visible = ops.ones_like(q + k, dtype="bool")
        if self.causal:
            past = ops.less_equal(k, q)
            if self.prefix_length is not None:
                past = ops.logical_or(past, ops.less(k, ops.reshape(ops.cast(self.prefix_length, k.dtype), (-1, 1, 1, 1))))
            visible = past
        if self.window is not None:
            distance = q - k
            near = ops.less(distance, self.window) if self.causal else ops.less_equal(ops.abs(distance), self.window)
            visible = ops.logical_and(visible, near)
        if self.query_segments is not None:
            q, k = _rows(self.query_segments), _columns(self.key_segments)
            visible = ops.logical_and(visible, ops.logical_and(ops.equal(q, k), ops.not_equal(q, 0)))
        return visible

    def places(self) -> tuple[Any, Any]:
        """Where queries and keys stand, int [B or 1, T] and [B or 1, S], with padding not counted: distances are in real tokens."""
        if self.key_segments is None:
            return self.query_index, self.key_index
        real = ops.cast(ops.not_equal(self.key_segments, 0), "int32")
        keys = ops.cumsum(real, axis=1) - 1
        if self.query_index is self.key_index:
            return keys, keys
        return ops.take_along_axis(
            keys, ops.broadcast_to(self.query_index, (ops.shape(keys)[0], ops.shape(self.query_index)[1])), axis=1
        ), keys

    def additive(self) -> tuple[Any, Any]:
        """What a dense kernel needs, each None where it changes nothing.

        The float32 [B or 1, 1 or N, T, S] to add to the scores, and bool [B, T], False for queries that see no key.
        """
        if self.computed is not None:
            return self.computed
        if not (self.causal or self.window is not None or self.query_segments is not None):
            return self.bias, None
        visible = self.dense()
        hidden = ops.where(visible, ops.zeros((), "float32"), ops.full((), HIDDEN, "float32"))
        seeing = None if self.query_segments is None else ops.squeeze(ops.any(visible, axis=-1), 1)
        return (hidden if self.bias is None else hidden + self.bias), seeing

    def materialized(self) -> "Mask":
        """The same mask with `additive` computed once, for all layers that share it."""
        return replace(self, computed=self.additive())


def _rows(x: Any) -> Any:
    return ops.expand_dims(ops.expand_dims(x, 1), 3)


def _columns(x: Any) -> Any:
    return ops.expand_dims(ops.expand_dims(x, 1), 1)
