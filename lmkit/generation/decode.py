"""Drawing token by token with a key-value cache in static shapes: one compiled call reads the prompts, another draws several tokens."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from lmkit.counting import mix
from lmkit.engine.tensorflow import compiled, finite
from lmkit.generation.cached import Cached, longer
from lmkit.generation.layout import MAX_ROWS, Continuation, Reason, begun, bucket, left_padded
from lmkit.generation.rules import Written, among, constrain, least
from lmkit.generation.sampling import sample
from lmkit.generation.settings import Settings

SOON = 0.03  # seconds that a listener may wait for an id without noticing


@dataclass
class _Row:
    """One prompt on its way: `window` is what the decoder sees, `ids` what was drawn."""

    index: int
    prompt: list[int]
    window: list[int]
    ids: list[int]
    reason: Reason | None = None


class Generator:
    """Continues prompts with one model, each on its own.

    A row that outgrows a decoder's context goes on from its last half, read anew with positions from 0; beside an encoder it
    ends there: the token after a full context is still drawn, but has no position. The rules of `words` look at what the
    decoder sees. The ids of a row depend on the weights, its prompt, `seed` and its row number alone, up to rounding of near
    ties: not on the other rows, the compiled lengths or how many tokens a call draws.
    """

    def __init__(self, model: Cached, words: Settings, *, tokens_per_call: int = 64) -> None:
        self.model, self.words, self.tokens_per_call = model, words, tokens_per_call
        self._draw = compiled(self._draw_steps, xla=model.xla)

    @property
    def compilations(self) -> int:
        """Programs that draw: one for each (rows, cache length); the model has one that reads for each (rows, prompt length)."""
        return self._draw.compilations

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        seed: int = 0,
        first_row: int = 0,
        row_keys: Sequence[int] | None = None,
        on_token: Callable[[int, int], bool] = lambda row, token: False,
        live: bool = False,
    ) -> list[Continuation]:
        """Draws up to `max_tokens` ids after each prompt (not empty), `words.texts` times; row numbers count from `first_row`,
        unless `row_keys` has a number for each text.

        `on_token(row, id)` hears each id as its call returns and ends the row by returning True. `live` lets calls draw only
        as many ids as come soon, one where the model is slow; otherwise they draw `tokens_per_call`.
        """

        def take(row: _Row, token: int) -> None:
            if token in self.words.end:
                row.reason = "end"
                return
            row.ids.append(token)
            row.window.append(token)
            if on_token(row.index, token):
                row.reason = "stop"

        numbers = range(first_row, first_row + len(prompts) * self.words.texts) if row_keys is None else row_keys
        keys = [mix(seed, number) for number in numbers]
        repeated = [prompt for prompt in prompts for _ in range(self.words.texts)]
        prefix = list(self.model.prefix)
        max_tokens = min(max_tokens, self.model.context - len(prefix) + 1) if prefix else max_tokens
        rows = [_Row(i, [int(t) for t in prompt], [*prefix] or [int(t) for t in prompt], []) for i, prompt in enumerate(repeated)]
        for at in range(0, len(rows), MAX_ROWS):
            left = rows[at : at + MAX_ROWS]
            while left := [row for row in left if row.reason is None and len(row.ids) < max_tokens]:
                self._round(left, max_tokens, [keys[row.index] for row in left], take, live)
        return [Continuation(row.ids, row.reason or "length") for row in rows]

    def _round(self, rows: list[_Row], max_tokens: int, keys: list[int], take: Callable[[_Row, int], None], live: bool) -> None:
        """Reads the prompts, or else the windows, of `rows` into a fresh cache and draws until all end or the first window is too long.

        All rows of a round have drawn equally many tokens.
        """
        context = self.model.context
        for row in rows:
            if len(row.window) > context:
                row.window = row.window[-max(1, context // 2) :]
        drawn = len(rows[0].ids)
        steps = min([max_tokens - drawn, *(context - len(row.window) + 1 for row in rows)])
        given_BP, given_B = left_padded([row.prompt if self.model.prefix else row.window for row in rows])
        tokens_BP, start_B = begun(self.model.prefix, len(given_B)) if self.model.prefix else (given_BP, given_B)
        batch, length = tokens_BP.shape
        key_B, least_B = np.zeros(batch, np.uint32), np.zeros(batch, np.int32)
        key_B[: len(rows)] = keys
        least_B[: len(rows)] = least(self.words, [len(self.model.prefix or row.prompt) for row in rows])
        logits_BV, cache, facts = self.model.read(given_BP, given_B)
        slots = bucket(length + steps)
        tokens_BS, cache, ready = np.pad(tokens_BP, ((0, 0), (0, slots - length))), longer(cache, slots), self.model.ready(batch)
        done, count = 0, 1 if live else self.tokens_per_call
        while done < steps and not all(row.reason for row in rows):
            finite(logits_BV)
            began, count = time.perf_counter(), min(count, steps - done)
            alive_B = np.array([*(row.reason is None for row in rows), *(False for _ in range(batch - len(rows)))])
            numbers = (np.int32(n) for n in (length + done, count, drawn + done, max_tokens))
            of_rows = (start_B, key_B, least_B)
            tokens_BS, logits_BV, cache = self._draw(alive_B, tokens_BS, logits_BV, cache, facts, ready, of_rows, *numbers)
            for row, ids in zip(rows, np.asarray(tokens_BS)[:, length + done : length + done + count], strict=False):
                for token in ids:
                    if row.reason is None:
                        take(row, int(token))
            done += count
            if count < self.tokens_per_call and time.perf_counter() - began < SOON:
                count = min(2 * count, self.tokens_per_call)

    def _draw_steps(self, alive_B, tokens_BS, logits_BV, cache, facts, ready, of_rows, slot, count, drawn, most):
        """Draws `count` ids from the slot `slot` on, or until no row lives; `drawn` counts the ids before, of at most `most`."""
        start_B, key_B, least_B = of_rows

        def more(step: Any, alive_B: Any, *_: Any) -> Any:
            return ops.logical_and(step < count, ops.any(alive_B))

        def draw(step: Any, alive_B: Any, tokens_BS: Any, logits_BV: Any, cache: Any) -> Any:
            at = slot + step
            written = Written(tokens_BS, start_B, at, drawn + step, least_B, most)
            token_B = sample(constrain(logits_BV, written, self.words), key_B, drawn + step, self.words)
            alive_B, token_B1 = ops.logical_and(alive_B, ops.logical_not(among(token_B, self.words.end))), ops.expand_dims(token_B, 1)
            logits_BV, cache = self.model.step(token_B1, cache, facts, ready, at, start_B)
            return step + 1, alive_B, ops.slice_update(tokens_BS, (0, at), token_B1), logits_BV, cache

        return ops.while_loop(more, draw, (np.int32(0), alive_B, tokens_BS, logits_BV, cache))[2:]
