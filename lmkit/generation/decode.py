"""Decoding with a key-value cache in static shapes: one compiled call reads the prompts, another draws several tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from keras import ops

from lmkit.data.order import mix
from lmkit.engine.tensorflow import compiled
from lmkit.generation.sampling import Sampling, sample

MAX_ROWS = 32


def bucket(length: int, smallest: int = 16) -> int:
    """The shortest compiled length >= `length`: powers of two and their three-halves, from `smallest` up."""
    size = smallest
    while size < length:
        size = max(size + 1, size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3)
    return size


@dataclass
class Continuation:
    """What was drawn after one prompt: ids without the end token, and why it ended."""

    ids: list[int]
    reason: Literal["length", "end", "stop"] = "length"


@dataclass
class _Row:
    """One prompt on its way: `window` is what the model sees, `ids` what was drawn."""

    index: int
    window: list[int]
    ids: list[int]
    reason: Literal["length", "end", "stop"] | None = None


class Generator:
    """Continues prompts with one model.

    `backbone` as in models/backbone.py; `logits(hidden_BTD) -> [B, T, V]`. `context` is the longest sequence the model may see:
    a row that fills it goes on from its last half, read anew with positions from 0. `forbidden` ids are never drawn, `end` ends a row.
    The ids of a row depend on the weights, its prompt, `seed` and its row number alone, up to rounding of near ties:
    not on the other rows, the compiled lengths or `tokens_per_call`.
    """

    def __init__(
        self,
        backbone: Any,
        logits: Callable[[Any], Any],
        *,
        context: int,
        vocab_size: int,
        sampling: Sampling,
        end: int | None = None,
        forbidden: Sequence[int] = (),
        tokens_per_call: int = 16,
    ) -> None:
        self.backbone, self.logits, self.context = backbone, logits, context
        self.sampling, self.end, self.tokens_per_call = sampling, end, tokens_per_call
        self.bias_V = np.zeros(vocab_size, np.float32)
        self.bias_V[list(forbidden)] = -1e9
        self._read = compiled(self._read_step, xla=True)
        self._draw = compiled(self._draw_steps, xla=True)

    @property
    def compilations(self) -> int:
        """Programs compiled so far: one for each (rows, prompt length) and one for each (rows, cache length)."""
        return self._read.compilations + self._draw.compilations

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        seed: int = 0,
        first_row: int = 0,
        on_token: Callable[[int, int], bool] = lambda row, token: False,
    ) -> list[Continuation]:
        """Draws up to `max_tokens` ids after each prompt (not empty); row numbers count from `first_row`.

        `on_token(prompt index, id)` hears each id as its call returns and ends the row by returning True.
        """

        def take(row: _Row, token: int) -> None:
            if token == self.end:
                row.reason = "end"
                return
            row.ids.append(token)
            row.window.append(token)
            if on_token(row.index, token):
                row.reason = "stop"

        rows = [_Row(i, [int(t) for t in prompt], []) for i, prompt in enumerate(prompts)]
        for at in range(0, len(rows), MAX_ROWS):
            left = rows[at : at + MAX_ROWS]
            while left := [row for row in left if row.reason is None and len(row.ids) < max_tokens]:
                self._round(left, max_tokens, [mix(seed, first_row + row.index) for row in left], take)
        return [Continuation(row.ids, row.reason or "length") for row in rows]

    def _round(self, rows: list[_Row], max_tokens: int, keys: list[int], take: Callable[[_Row, int], None]) -> None:
        """Reads the windows of `rows` into a fresh cache and draws until all end or the first window is full.

        All rows of a round have drawn equally many tokens.
        """
        for row in rows:
            if len(row.window) >= self.context:
                row.window = row.window[-max(1, self.context // 2) :]
        drawn = len(rows[0].ids)
        steps = min([max_tokens - drawn, *(self.context - len(row.window) for row in rows)]) or 1
        calls = -(-steps // self.tokens_per_call)
        batch, length = bucket(len(rows), 1), bucket(max(len(row.window) for row in rows))
        tokens_BP, start_B, key_B = np.zeros((batch, length), np.int32), np.full(batch, length, np.int32), np.zeros(batch, np.uint32)
        for i, row in enumerate(rows):
            start_B[i], key_B[i] = length - len(row.window), keys[i]
            tokens_BP[i, start_B[i] :] = row.window
        logits_BV, cache = self._read(tokens_BP, start_B)
        slots = bucket(length + calls * self.tokens_per_call)
        cache = tuple(tuple(ops.pad(x, ((0, 0), (0, slots - length), (0, 0), (0, 0))) for x in layer) for layer in cache)
        for done in range(0, steps, self.tokens_per_call):
            ids_BT, logits_BV, cache = self._draw(logits_BV, cache, start_B, key_B, np.int32(length + done), np.int32(drawn + done))
            for row, ids in zip(rows, np.asarray(ids_BT), strict=False):
                for token in ids[: steps - done]:
                    if row.reason is None:
                        take(row, int(token))
            if all(row.reason for row in rows):
                return

    def _read_step(self, tokens_BP, start_B):
        """The logits after left-padded prompts and the cache that holds them; row b begins at slot start_B[b]."""
        batch, length = tokens_BP.shape
        slot_1P, start_B1 = ops.expand_dims(ops.arange(length, dtype="int32"), 0), ops.expand_dims(start_B, 1)
        segments_BP = ops.cast(slot_1P >= start_B1, "int32")
        hidden_BPD, cache = self.backbone(
            tokens_BP,
            segments=segments_BP,
            positions=ops.maximum(slot_1P - start_B1, 0),
            causal=True,
            cache=self.backbone.empty_cache(batch, length),
            cache_index=0,
            cache_segments=segments_BP,
        )
        return ops.squeeze(self.logits(hidden_BPD[:, -1:, :]), 1), cache

    def _draw_steps(self, logits_BV, cache, start_B, key_B, slot, index):
        """Draws `tokens_per_call` ids from the slot `slot` on; `index` counts the ids drawn before."""
        start_B1 = ops.expand_dims(start_B, 1)
        slot_1S = ops.expand_dims(ops.arange(cache[0][0].shape[1], dtype="int32"), 0)
        segments_BS = ops.cast(slot_1S >= start_B1, "int32")

        def draw(step, state):
            ids_BT, logits_BV, cache = state
            token_B1 = ops.expand_dims(sample(logits_BV + self.bias_V, key_B, index + step, self.sampling), 1)
            ids_BT = ops.slice_update(ids_BT, (0, step), token_B1)
            hidden_B1D, cache = self.backbone(
                token_B1,
                segments=ops.ones_like(token_B1),
                positions=ops.clip(slot + step - start_B1, 0, self.context - 1),
                causal=True,
                cache=cache,
                cache_index=slot + step,
                cache_segments=segments_BS,
            )
            return ids_BT, ops.squeeze(self.logits(hidden_B1D), 1), cache

        ids_BT = ops.zeros((start_B.shape[0], self.tokens_per_call), "int32")
        return ops.fori_loop(0, self.tokens_per_call, draw, (ids_BT, logits_BV, cache))
