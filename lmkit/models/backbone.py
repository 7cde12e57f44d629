"""The body of a model: inputs, a stack of blocks, and the final norm of pre-norm stacks."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal

import keras
from keras import ops

from lmkit.attention.masks import Mask
from lmkit.attention.multi_head import Collect, under
from lmkit.blocks.mixture import imbalance
from lmkit.engine.tensorflow import recompute
from lmkit.layers.dropout import mix
from lmkit.layers.layer import Layer


class Backbone(Layer):
    """An encoder or a decoder: the same blocks, seen through another mask unless the caller says otherwise.

    Executed layer i runs `blocks[order[i]]`, by default each block once, and turns queries and keys by
    `rotaries[turns[i]]`, by default the only one; -1 is no rotation. `bias` is added to the scores of all layers, `distance`
    scored by them, and `convolution` adds to what comes out of the first block a look at what goes in. Rotation tables, bias
    and one mask per distinct window are made once. `rematerialize` keeps only the blocks' inputs for the backward pass and
    computes the rest again.

    A backbone that is named after its kind is one side of an encoder-decoder: its embeddings stand under that name too, and
    the blocks of its decoder look at a memory.
    """

    def __init__(
        self,
        *,
        kind: Literal["encoder", "decoder"],
        embeddings: Layer,
        blocks: list[Layer],
        order: Sequence[int] | None = None,
        norm: Layer | None = None,
        rotaries: Sequence[Layer] = (),
        turns: Sequence[int] | None = None,
        bias: Layer | None = None,
        distance: Layer | None = None,
        convolution: Layer | None = None,
        rematerialize: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.kind, self.embeddings, self.blocks, self.norm = kind, embeddings, list(blocks), norm
        self.order = list(range(len(blocks)) if order is None else order)
        self.rotaries, self.bias, self.distance, self.rematerialize = list(rotaries), bias, distance, rematerialize
        self.convolution = convolution
        self.turns = list([len(self.rotaries) - 1] * len(self.order) if turns is None else turns)
        self.causal = kind == "decoder"

    def build(self, input_shape: Any = None) -> None:
        side = self.name == self.kind
        if not side:
            self.embeddings.build()
        with nullcontext() if side else keras.name_scope(self.kind):
            if side:
                self.embeddings.build()
            with keras.name_scope("layers"):
                for block in self.blocks:
                    block.build()
            for part in (self.norm, self.bias, self.distance, self.convolution):
                if part is not None:
                    part.build()

    @property
    def hidden_size(self) -> int:
        return self.embeddings.hidden_size

    @property
    def vocab_size(self) -> int:
        return self.embeddings.vocab_size

    @property
    def token_embedding(self) -> Any:
        """The variable [V, E] that tied heads project with."""
        return self.embeddings.token.embedding

    def empty_cache(self, batch: int, length: int) -> tuple[tuple[Any, Any], ...]:
        """For each executed layer zeros for keys and values [B, K, S, H], in the compute dtype."""
        layers = [self.blocks[i].attention for i in self.order]
        shapes = [(batch, attention.num_kv_heads, length, attention.head_dim) for attention in layers]
        return tuple((ops.zeros(shape, self.compute_dtype), ops.zeros(shape, self.compute_dtype)) for shape in shapes)

    def remember(self, states: Any) -> tuple[tuple[Any, Any], ...]:
        """For each executed layer what its cross-attention reads of an encoder's states: keys and values [B, K, S, H]."""
        return tuple(self.blocks[i].cross_attention.remember(states) for i in self.order)

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
        memory: Any = None,
        memory_segments: Any = None,
        collect: Collect | None = None,
    ) -> Any:
        """tokens int[B, T] -> hidden [B, T, D], or that and the new cache.

        `segments` int[B, T] (0 padding) default to one document; `positions` to slot numbers, or to what the table of
        positions counts; `vectors` [B, T, E] stand in for token embeddings (tokens is then None); `row_key` None is
        inference; `causal` None is the body's own way. With `cache` the T tokens go to the slots from `cache_index` on, and
        `cache_segments` [B, S] names the segment of every slot, the new ones among them (0 = empty or padding; default: all
        slots up to the query are one document). `memory` is an encoder's states [B, S, D] or what `remember` made of them, and
        `memory_segments` int[B, S] says what each segment's tokens see of it (default: everything).
        `collect` receives, by name: `embeddings`, `layers.{i}` (the stream after the block), `layers.{i}.attention.weights`
        and `layers.{i}.cross_attention.weights`;
        in training, where there are mixtures of experts, `balance` [B], what their uneven use adds to the loss of a row.
        """
        batch, length = ops.shape(tokens if vectors is None else vectors)[:2]
        start = 0 if cache is None else cache_index
        query_index = ops.expand_dims(ops.arange(length, dtype="int32") + start, 0)
        key_index = query_index if cache is None else ops.expand_dims(ops.arange(ops.shape(cache[0][0])[2], dtype="int32"), 0)
        if positions is None:
            counted = self.embeddings.places(tokens)
            positions = ops.broadcast_to(query_index, (batch, length)) if counted is None else counted + start
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
        )
        if self.bias is not None:
            skips = getattr(self.bias, "skips_padding", False)
            bias = self.bias(*(mask.places() if skips else (query_index, key_index)))
            mask = replace(mask, bias=ops.cast(bias, "float32"))
        if self.distance is not None:
            mask = replace(mask, distances=self.distance(query_index, key_index))
        x = self.embeddings(tokens, positions=positions, token_types=token_types, vectors=vectors, row_key=row_key)
        if collect is not None:
            collect("embeddings", x)
        rotations = [rotary(positions) for rotary in self.rotaries]
        memory = (memory, None if memory_segments is None else _memory_mask(mask, memory_segments, batch, length))
        x, new_cache = self._stack(x, mask, rotations, row_key, cache, cache_index, memory, collect)
        x = x if self.norm is None else self.norm(x)
        return x if cache is None else (x, new_cache)

    def _stack(self, x: Any, mask: Mask, rotations: Any, row_key: Any, cache: Any, cache_index: Any, memory: Any, collect: Any) -> Any:
        embedded = x
        windows = {block.attention.window for block in self.blocks}
        masks = {window: replace(mask, window=window).materialized() for window in windows}
        entries: list[Any] = []
        usages = []
        for i, (block, turn) in enumerate(zip((self.blocks[j] for j in self.order), self.turns, strict=True)):
            again = self.order[i] in self.order[:i]
            keywords = {
                "visible": masks[block.attention.window],
                "rotation": rotations[turn] if turn >= 0 else None,
                "row_key": mix(row_key, i) if again and row_key is not None else row_key,
            }
            states, keywords["memory_visible"] = memory
            states = states[i] if isinstance(states, tuple) else states
            if cache is not None:
                keywords |= {"cache": cache[i], "cache_index": cache_index, "memory": states}
                x, entry = block(x, collect=under(collect, f"layers.{i}"), **keywords)
                entries.append(entry)
            elif self.rematerialize and row_key is not None:
                x = _recomputed(block, keywords, x, states)
            else:
                x = block(x, collect=under(collect, f"layers.{i}"), memory=states, **keywords)
            if block.has_experts and isinstance(x, tuple):
                x, usage = x
                usages.append((block.feed_forward, usage))
            if i == 0 and self.convolution is not None:
                if mask.causal:
                    raise ValueError("a convolution reads tokens that follow, which a causal mask hides")
                x = self.convolution(embedded, x, segments=mask.query_segments, row_key=row_key)
            if collect is not None:
                collect(f"layers.{i}", x)
        if usages and collect is not None:
            collect("balance", _balance(usages, mask))
        return x, tuple(entries)


def _recomputed(block: Layer, keywords: dict[str, Any], x: Any, states: Any) -> Any:
    """The block's output, to be computed again in the backward pass.

    Gradients reach `x`, the memory, and what tables of distances have a part in: what is added to the scores, and vectors.
    """
    mask = keywords["visible"]
    additive, seeing = mask.additive()
    vectors, row = mask.distances or (None, None)
    given = {"x": x, "states": states, "additive": additive, "vectors": vectors}
    given = {name: value for name, value in given.items() if value is not None}

    def run(*values: Any) -> Any:
        named = dict(zip(given, values, strict=True))
        distances = (named["vectors"], row) if "vectors" in named else None
        visible = replace(mask, computed=(named.get("additive"), seeing), distances=distances)
        return block(named["x"], memory=named.get("states"), **keywords | {"visible": visible})

    return recompute(run)(*given.values())


def _memory_mask(mask: Mask, memory_segments: Any, batch: int, length: int) -> Mask:
    """Each token sees of the memory what has its own segment; without segments, tokens are of the first."""
    key_index = ops.expand_dims(ops.arange(ops.shape(memory_segments)[1], dtype="int32"), 0)
    segments = ops.ones((batch, length), "int32") if mask.query_segments is None else mask.query_segments
    return Mask(mask.query_index, key_index, query_segments=segments, key_segments=memory_segments).materialized()


def _balance(usages: list[tuple[Any, Any]], mask: Mask) -> Any:
    """float32 [B]: the imbalance over all layers with the same number of experts, times its weight in the loss."""
    batch, length = ops.shape(usages[0][1])[0], ops.shape(mask.query_index)[1]
    tokens = ops.full((batch,), length, "float32")
    if mask.query_segments is not None:
        tokens = ops.sum(ops.cast(ops.not_equal(mask.query_segments, 0), "float32"), axis=1)
    alike: dict[tuple[int, float], list[Any]] = {}
    for part, usage in usages:
        alike.setdefault((part.num_experts, part.balance_weight), []).append(usage)
    return sum(weight * imbalance(sum(some), tokens * len(some), experts) for (experts, weight), some in alike.items())
