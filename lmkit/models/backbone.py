"""The body of a model: inputs, a stack of blocks, and the final norm of pre-norm stacks."""

from dataclasses import replace
from typing import Any, Literal

import keras
from keras import ops

from lmkit.attention.masks import Mask
from lmkit.attention.multi_head import Collect
from lmkit.engine.tensorflow import recompute
from lmkit.layers.layer import Layer


class Backbone(Layer):
    """An encoder or a decoder: the same blocks, seen through another mask unless the caller says otherwise.

    `rotary` and `alibi` are made once and shared by all blocks; so is one mask per distinct window. `rematerialize` keeps
    only the blocks' inputs for the backward pass and computes the rest again.
    """

    def __init__(
        self,
        *,
        kind: Literal["encoder", "decoder"],
        embeddings: Layer,
        blocks: list[Layer],
        norm: Layer | None = None,
        rotary: Layer | None = None,
        alibi: Layer | None = None,
        rematerialize: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.kind, self.embeddings, self.blocks, self.norm = kind, embeddings, list(blocks), norm
        self.rotary, self.alibi, self.rematerialize = rotary, alibi, rematerialize
        self.causal = kind == "decoder"

    def build(self, input_shape: Any = None) -> None:
        self.embeddings.build()
        with keras.name_scope(self.kind):
            with keras.name_scope("layers"):
                for block in self.blocks:
                    block.build()
            if self.norm is not None:
                self.norm.build()

    @property
    def hidden_size(self) -> int:
        return self.embeddings.hidden_size

    @property
    def vocab_size(self) -> int:
        return self.embeddings.vocab_size

    @property
    def token_embedding(self) -> Any:
        """The variable [V, D] that tied heads project with."""
        return self.embeddings.token.embedding

    def empty_cache(self, batch: int, length: int) -> tuple[tuple[Any, Any], ...]:
        """For each block zeros for keys and values [B, S, K, H], in the compute dtype."""
        shapes = [(batch, length, block.attention.num_kv_heads, block.attention.head_dim) for block in self.blocks]
        return tuple((ops.zeros(shape, self.compute_dtype), ops.zeros(shape, self.compute_dtype)) for shape in shapes)

    def call(
        self,
        tokens: Any,
        *,
        segments: Any = None,
        positions: Any = None,
        token_types: Any = None,
        vectors: Any = None,
        row_key: Any = None,
        causal: bool | None = None,
        prefix_length: Any = None,
        cache: Any = None,
        cache_index: Any = None,
        cache_segments: Any = None,
        collect: Collect | None = None,
    ) -> Any:
        """tokens int[B, T] -> hidden [B, T, D], or that and the new cache.

        `segments` int[B, T] (0 padding) default to one document; `positions` to slot numbers; `vectors` [B, T, D] stand
        in for token embeddings (tokens is then None); `row_key` None is inference; `causal` None is the body's own way.
        With `cache` the T tokens go to the slots from `cache_index` on, and `cache_segments` [B, S] names the segment of
        every slot, the new ones among them (0 = empty or padding; default: all slots up to the query are one document).
        `collect` receives, by name: `embeddings`, `layers.{i}` (the stream after the block), `layers.{i}.attention.weights`.
        """
        batch, length = ops.shape(tokens if vectors is None else vectors)[:2]
        start = 0 if cache is None else cache_index
        query_index = ops.expand_dims(ops.arange(length, dtype="int32") + start, 0)
        key_index = query_index if cache is None else ops.expand_dims(ops.arange(ops.shape(cache[0][0])[1], dtype="int32"), 0)
        if positions is None:
            positions = ops.broadcast_to(query_index, (batch, length))
        if cache is not None:
            if cache_segments is not None and segments is None:
                segments = ops.slice(cache_segments, (0, cache_index), (batch, length))
            elif cache_segments is None and segments is not None:
                raise ValueError("segments with a cache need cache_segments")
        mask = Mask(
            query_index,
            key_index,
            query_segments=segments,
            key_segments=segments if cache is None else cache_segments,
            causal=self.causal if causal is None else causal,
            prefix_length=prefix_length,
            bias=None if self.alibi is None else self.alibi(query_index, key_index),
        )
        x = self.embeddings(tokens, positions=positions, token_types=token_types, vectors=vectors, row_key=row_key)
        rotation = None if self.rotary is None else self.rotary(positions)
        if collect is not None:
            collect("embeddings", x)
        x, new_cache = self._stack(x, mask, rotation, row_key, cache, cache_index, collect)
        x = x if self.norm is None else self.norm(x)
        return x if cache is None else (x, new_cache)

    def _stack(self, x: Any, mask: Mask, rotation: Any, row_key: Any, cache: Any, cache_index: Any, collect: Collect | None) -> Any:
        windows = {block.attention.window for block in self.blocks}
        masks = {window: replace(mask, window=window).materialized() for window in windows}
        new_cache = []
        for i, block in enumerate(self.blocks):
            keywords = {"visible": masks[block.attention.window], "rotation": rotation, "row_key": row_key}
            if cache is not None:
                x, entry = block(x, cache=cache[i], cache_index=cache_index, collect=_under(collect, i), **keywords)
                new_cache.append(entry)
            elif self.rematerialize and row_key is not None:
                x = recompute(lambda x, block=block, keywords=keywords: block(x, **keywords))(x)
            else:
                x = block(x, collect=_under(collect, i), **keywords)
            if collect is not None:
                collect(f"layers.{i}", x)
        return x, tuple(new_cache)


def _under(collect: Collect | None, layer: int) -> Collect | None:
    return None if collect is None else lambda name, value: collect(f"layers.{layer}.attention.{name}", value)
