"""Multi-head attention: the four projections, positions on queries and keys, and a cache for decoding."""

from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

from lmkit.attention.masks import Mask
from lmkit.attention.scores import attend
from lmkit.layers.dropout import layer_id
from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear
from lmkit.layers.weights import canonical
from lmkit.positions.rotary import Layout, rotate

Collect = Callable[[str, Any], None]
PROJECTIONS = ("query", "key", "value", "output")


class MultiHeadAttention(Layer):
    """Self-attention with `num_kv_heads` key and value heads shared by groups of `num_heads` query heads.

    `memory_size` is the width that keys and values are made from where that is not `hidden_size`. `window` is only read
    here by who makes the mask. `bias` says for all projections, or each by name, whether they have one. `query_norm` and
    `key_norm` act before the rotation, over as many channels as they are wide: a head, or all heads. `distance` scores
    distances beside contents. `output_stddev` starts the last kernel, which writes to the residual stream; `rotary_layout`
    says which channels a rotation pairs.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        memory_size: int | None = None,
        window: int | None = None,
        bias: bool | Mapping[str, bool] = True,
        scale: float | None = None,
        softcap: float | None = None,
        query_norm: Layer | None = None,
        key_norm: Layer | None = None,
        distance: Layer | None = None,
        dropout: float = 0.0,
        rotary_layout: Layout = "half",
        output_stddev: float = 0.02,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.distance = distance
        self.hidden_size, self.num_heads, self.window, self.bias, self.dropout = hidden_size, num_heads, window, bias, dropout
        self.num_kv_heads = num_kv_heads or num_heads
        self.head_dim, self.memory_size = head_dim or hidden_size // num_heads, memory_size or hidden_size
        self.scale, self.softcap, self.query_norm, self.key_norm = scale, softcap, query_norm, key_norm
        self.rotary_layout, self.output_stddev = rotary_layout, output_stddev
        queries, keys = num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        shared = {"dtype": self.dtype_policy}
        into = {"axes": ("hidden", "heads"), **shared}
        has = dict.fromkeys(PROJECTIONS, bias) if isinstance(bias, bool) else bias
        self.query = Linear(hidden_size, queries, bias=has["query"], name="query", **into)
        self.key = Linear(self.memory_size, keys, bias=has["key"], name="key", **into)
        self.value = Linear(self.memory_size, keys, bias=has["value"], name="value", **into)
        out = {"stddev": output_stddev, "axes": ("heads", "hidden"), **shared}
        self.out = Linear(queries, hidden_size, bias=has["output"], name="output", **out)

    def build(self, input_shape: Any = None) -> None:
        for part in (self.query, self.key, self.value, self.out, self.query_norm, self.key_norm, self.distance):
            if part is not None:
                part.build()
        self.layer_id = layer_id(canonical(self) + ".weights.dropout")

    def call(
        self,
        x_BTD: Any,
        *,
        visible: Mask | None = None,
        rotation: Any = None,
        row_key: Any = None,
        cache: tuple[Any, Any] | None = None,
        cache_index: Any = None,
        collect: Collect | None = None,
    ) -> Any:
        """x [B, T, D] -> [B, T, D]; with a cache, that and the cache after the new keys and values were written to it.

        `cache` is (keys, values) of [B, K, S, H], the order in which products read them, and `cache_index` the slot of the
        first new token; `visible` then describes T queries over S slots. `collect` receives `weights` [B, N, T, S].
        """
        q, (k, v) = self.queries(x_BTD), self.keys_and_values(x_BTD)
        if rotation is not None:
            q, k = rotate(q, rotation, self.rotary_layout), rotate(k, rotation, self.rotary_layout)
        if cache is not None:
            place = (0, 0, cache_index, 0)
            keys, values = (ops.slice_update(old, place, ops.cast(turned(x), old.dtype)) for old, x in zip(cache, (k, v), strict=True))
            cache, k, v = (keys, values), turned(keys), turned(values)
        y = self.attended(q, k, v, visible=visible, row_key=row_key, collect=collect)
        return y if cache is None else (y, cache)

    def queries(self, x_BTD: Any) -> Any:
        """[B, T, N, H], before any rotation."""
        batch, length = ops.shape(x_BTD)[:2]
        return ops.reshape(_normed(self.query(x_BTD), self.query_norm), (batch, length, self.num_heads, self.head_dim))

    def keys(self, x_BSD: Any) -> Any:
        """[B, S, K, H], before any rotation."""
        batch, length = ops.shape(x_BSD)[:2]
        return ops.reshape(_normed(self.key(x_BSD), self.key_norm), (batch, length, self.num_kv_heads, self.head_dim))

    def keys_and_values(self, x_BSD: Any) -> tuple[Any, Any]:
        """Both [B, S, K, H], before any rotation."""
        batch, length = ops.shape(x_BSD)[:2]
        return self.keys(x_BSD), ops.reshape(self.value(x_BSD), (batch, length, self.num_kv_heads, self.head_dim))

    def attended(self, q: Any, k: Any, v: Any, *, visible: Mask | None, row_key: Any, collect: Collect | None) -> Any:
        """[B, T, D]: what queries read from values, through the output projection."""
        batch, length = ops.shape(q)[:2]
        scores: dict[str, Any] = {"scale": self.scale, "softcap": self.softcap}
        if self.distance is not None and visible is not None and visible.distances is not None:
            scores["extra"] = self.distance(q, k, *visible.distances, queries=self.queries, keys=self.keys)
        drop: dict[str, Any] = {"dropout_rate": self.dropout, "row_key": row_key, "layer_id": self.layer_id}
        out, weights = attend(q, k, v, mask=visible, **scores, **drop)
        if collect is not None:
            collect("weights", weights)
        return self.out(ops.reshape(out, (batch, length, self.num_heads * self.head_dim)))


def turned(x: Any) -> Any:
    """[B, S, K, H] as [B, K, S, H], and back."""
    return ops.transpose(x, (0, 2, 1, 3))


def under(collect: Collect | None, prefix: str) -> Collect | None:
    """The same listener, who hears of a part by its name below `prefix`."""
    return None if collect is None else lambda name, value: collect(f"{prefix}.{name}", value)


def _normed(x_BTC: Any, norm: Any) -> Any:
    """Each stretch of as many channels as the norm is wide, normed alone; without a norm, as it is."""
    if norm is None:
        return x_BTC
    batch, length, channels = ops.shape(x_BTC)
    stretches = ops.reshape(x_BTC, (batch, length, channels // norm.size, norm.size))
    return ops.reshape(norm(stretches), (batch, length, channels))
