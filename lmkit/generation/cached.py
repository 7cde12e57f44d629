"""A model that is read once and then continued token by token: what drawing and searching ask of it."""

from collections.abc import Callable
from typing import Any, Protocol

from keras import ops

from lmkit.engine.devices import xla_reads
from lmkit.engine.tensorflow import compiled

Cache = Any


class Cached(Protocol):
    """Rows stand left-padded in slots: row b begins at slot start_B[b], and all rows go on at the same slot.

    A decoder goes on after the prompt. One beside an encoder, which reads the prompt, goes on after `prefix` instead, and its
    slots hold only that and what comes. What is remembered of the rows has two parts: a cache of slots [B, K, S, H], which
    grows and is reordered, and facts [B, ...], which are the same for all beams of a prompt. `context` is the most slots.
    Weights may change between two readings of prompts. `xla` says how what reads and steps is best compiled.
    """

    xla: bool
    context: int
    prefix: tuple[int, ...]

    def read(self, tokens_BP: Any, start_B: Any) -> tuple[Any, Cache, Any]:
        """The logits [B, V] after prompts (and the prefix), the cache of their slots and the facts: a program of its own."""
        ...

    def ready(self, rows: int) -> Any:
        """What the steps of so many rows read of the weights in another order, made once after reading."""
        ...

    def step(self, token_B1: Any, cache: Cache, facts: Any, ready: Any, slot: Any, start_B: Any) -> tuple[Any, Cache]:
        """The logits [B, V] after one more token, which goes to `slot`, and the new cache."""
        ...


class Output:
    """A head's scores of the next token: `head.logits(hidden, table_VE) -> [..., V]`, `head.tied` whether it reads the table."""

    def __init__(self, backbone: Any, head: Any) -> None:
        self.backbone, self.head = backbone, head
        self.xla = xla_reads(backbone.variable_dtype)

    def ready(self, rows: int) -> Any:
        """The table by columns, which products of several rows read twice as fast; one row reads it as it is."""
        return ops.transpose(self.backbone.token_embedding) if rows > 1 and self.head.tied else ()

    def logits(self, hidden_BTD: Any, table_EV: Any = ()) -> Any:
        """[B, V] after the last token; `table_EV` as `ready` gave it."""
        last_BD = ops.squeeze(hidden_BTD[:, -1:, :], 1)
        return self.head.logits(last_BD, self.backbone.token_embedding if isinstance(table_EV, tuple) else ops.transpose(table_EV))


class CachedDecoder(Output):
    """A decoder as in models/backbone.py and its head; `context` is the longest sequence that it may see.

    A prefix language model reads prompts `both_ways`: each token of them sees all.
    """

    prefix: tuple[int, ...] = ()

    def __init__(self, backbone: Any, head: Any, *, context: int, both_ways: bool = False) -> None:
        super().__init__(backbone, head)
        self.context, self.both_ways = context, both_ways
        self.read = compiled(self._read, xla=self.xla)

    def _read(self, tokens_BP: Any, start_B: Any) -> tuple[Any, Cache, Any]:
        batch, length = tokens_BP.shape
        slot_1P, start_B1 = ops.expand_dims(ops.arange(length, dtype="int32"), 0), ops.expand_dims(start_B, 1)
        segments_BP = ops.cast(slot_1P >= start_B1, "int32")
        hidden_BPD, cache = self.backbone(
            tokens_BP,
            segments=segments_BP,
            positions=ops.maximum(slot_1P - start_B1, 0),
            causal=True,
            prefix_length=ops.full((batch,), length, "int32") if self.both_ways else None,
            cache=self.backbone.empty_cache(batch, length),
            cache_index=0,
            cache_segments=segments_BP,
        )
        return self.logits(hidden_BPD), cache, ()

    def step(self, token_B1: Any, cache: Cache, facts: Any, ready: Any, slot: Any, start_B: Any) -> tuple[Any, Cache]:
        start_B1 = ops.expand_dims(start_B, 1)
        slot_1S = ops.expand_dims(ops.arange(cache[0][0].shape[2], dtype="int32"), 0)
        hidden_B1D, cache = self.backbone(
            token_B1,
            segments=ops.ones_like(token_B1),
            positions=ops.clip(slot - start_B1, 0, self.context - 1),
            causal=True,
            cache=cache,
            cache_index=slot,
            cache_segments=ops.cast(slot_1S >= start_B1, "int32"),
        )
        return self.logits(hidden_B1D, ready), cache


class CachedEncoderDecoder(Output):
    """A decoder beside an encoder, as in models/encoder_decoder.py, and its head; it begins with the token `start`.

    The facts of a row are the encoder's segments and the memory of its states. `context` is the most that the decoder writes.
    """

    def __init__(self, backbone: Any, head: Any, *, start: int, context: int) -> None:
        super().__init__(backbone, head)
        self.context = context
        self.prefix: tuple[int, ...] = (start,)
        self.read = compiled(self._read, xla=self.xla)

    def _read(self, tokens_BP: Any, start_B: Any) -> tuple[Any, Cache, Any]:
        batch, length = tokens_BP.shape
        slot_1P, start_B1 = ops.expand_dims(ops.arange(length, dtype="int32"), 0), ops.expand_dims(start_B, 1)
        segments_BP = ops.cast(slot_1P >= start_B1, "int32")
        states = self.backbone.encode(tokens_BP, segments=segments_BP, positions=ops.maximum(slot_1P - start_B1, 0))
        facts = (segments_BP, self.backbone.remember(states))
        token_B1, nowhere_B = ops.full((batch, 1), self.prefix[0], "int32"), ops.zeros((batch,), "int32")
        cache = self.backbone.decoder.empty_cache(batch, 2)  # Keras warns of a softmax over one slot
        return *self.step(token_B1, cache, facts, (), 0, nowhere_B), facts

    def step(self, token_B1: Any, cache: Cache, facts: Any, ready: Any, slot: Any, start_B: Any) -> tuple[Any, Cache]:
        slot_1S = ops.expand_dims(ops.arange(cache[0][0].shape[2], dtype="int32"), 0)
        hidden_B1D, cache = self.backbone.decode(
            token_B1,
            memory=facts[1],
            memory_segments=facts[0],
            segments=ops.ones_like(token_B1),
            positions=ops.clip(ops.zeros_like(token_B1) + slot, 0, self.context - 1),
            cache=cache,
            cache_index=slot,
            cache_segments=ops.broadcast_to(ops.ones_like(slot_1S), (token_B1.shape[0], slot_1S.shape[1])),
        )
        return self.logits(hidden_B1D, ready), cache


def longer(cache: Cache, slots: int) -> Cache:
    """The cache with room for so many slots."""
    return each(lambda x: ops.pad(x, ((0, 0), (0, 0), (0, slots - x.shape[2]), (0, 0))), cache)


def rows(cache: Cache, index_R: Any) -> Cache:
    """The cache, or facts, of the rows `index_R` int[R], in that order."""
    return each(lambda x: ops.take(x, index_R, axis=0), cache)


def each(change: Callable[[Any], Any], tree: Any) -> Any:
    """The same nested tuples with every array changed."""
    return tuple(each(change, branch) for branch in tree) if isinstance(tree, tuple) else change(tree)
