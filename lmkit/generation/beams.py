"""Beam search as transformers 5 does it, in static shapes: the same candidates, scores and reasons to stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from lmkit.engine.tensorflow import compiled, finite
from lmkit.generation.cached import Cached, longer, rows
from lmkit.generation.layout import MAX_ROWS, Continuation, begun, bucket, left_padded
from lmkit.generation.rules import Written, among, constrain, least
from lmkit.generation.settings import Settings

NONE = -1e9  # the score of a beam that does not exist yet; in float32 it swallows what is added


@dataclass(frozen=True)
class Limits:
    """The search's words as far as they are numbers, and the most new tokens [B] that each prompt may get."""

    beams: int
    length_penalty: float
    early_stopping: bool | str
    most_B: Any


def candidates(scores_BKV: Any, keep: int) -> tuple[Any, Any, Any]:
    """The best `keep` continuations of each prompt, best first: scores, beams and tokens [B, keep]."""
    batch, beams, vocab_size = scores_BKV.shape
    score_BC, flat_BC = ops.top_k(ops.reshape(scores_BKV, (batch, beams * vocab_size)), keep)
    return score_BC, flat_BC // vocab_size, flat_BC % vocab_size


def best(scores_BC: Any, count: int, *others: Any) -> tuple[Any, ...]:
    """The highest `count` scores of each prompt and, of [B, C, ...], what belongs to them."""
    score_BK, index_BK = ops.top_k(scores_BC, count)
    return score_BK, *(pick(other, index_BK) for other in others)


def pick(x: Any, index_BK: Any) -> Any:
    """x [B, C, ...] at index [B, K] -> [B, K, ...]."""
    batch, count = x.shape[:2]
    flat = ops.reshape(index_BK + ops.expand_dims(ops.arange(batch, dtype="int32") * count, 1), (-1,))
    return ops.reshape(ops.take(ops.reshape(x, (batch * count, *x.shape[2:])), flat, axis=0), (*index_BK.shape, *x.shape[2:]))


def promising(running_BK: Any, finished_BK: Any, complete_BK: Any, drawn: Any, limits: Limits) -> Any:
    """bool[B]: whether the best open beam, at the length where it would score best, could displace a finished text."""
    lengths = limits.most_B if limits.early_stopping == "never" and limits.length_penalty > 0 else drawn
    possible_B = running_BK[:, 0] / ops.cast(lengths, "float32") ** limits.length_penalty
    worst_BK = ops.where(complete_BK, ops.min(finished_BK, axis=1, keepdims=True), NONE)
    return ops.any(ops.expand_dims(possible_B, 1) > worst_BK, axis=1)


def advance(state: dict[str, Any], scores_BKV: Any, at: Any, drawn: Any, ends: Sequence[int], limits: Limits) -> tuple[dict[str, Any], Any]:
    """One step: the new state, and the beam [B, K] that each open beam goes on from.

    `scores` are those of the beams so far plus the log probability of each next token, which goes to slot `at`. State:
    `open` texts int[B, K, S] with `score` [B, K], finished texts `done` int[B, K, S] with `final` scores, `length` in new
    tokens and whether they are `complete` [B, K], and whether the prompt is still `searching` [B].
    """
    beams = limits.beams
    score_BC, from_BC, token_BC = candidates(scores_BKV, max(2, 1 + len(ends)) * beams)
    texts_BCS = ops.slice_update(pick(state["open"], from_BC), (0, 0, at), ops.expand_dims(token_BC, 2))
    full_B1 = ops.expand_dims(drawn + 1 >= limits.most_B, 1)
    hit_BC = ops.logical_or(among(token_BC, ends), full_B1)
    open_score_BK, open_BKS, from_BK = best(ops.where(hit_BC, score_BC + NONE, score_BC), beams, texts_BCS, from_BC)

    ended_BC = ops.logical_and(hit_BC, np.arange(hit_BC.shape[1])[None, :] < beams)
    final_BC = score_BC / ops.cast(drawn + 1, "float32") ** limits.length_penalty
    final_BC = ops.where(ended_BC, final_BC, final_BC + NONE)
    length_BC = ops.broadcast_to(drawn + 1, final_BC.shape)
    pairs = ((state["done"], texts_BCS), (state["length"], length_BC), (state["complete"], ended_BC))
    merged = [ops.concatenate(pair, axis=1) for pair in pairs]
    final_BK, done_BKS, length_BK, complete_BK = best(ops.concatenate((state["final"], final_BC), axis=1), beams, *merged)

    goes_on_B = promising(open_score_BK, final_BK, complete_BK, drawn + 1, limits)
    if limits.early_stopping is True:
        goes_on_B = ops.logical_and(goes_on_B, ops.logical_not(ops.all(complete_BK, axis=1)))
    goes_on_B = ops.logical_and(goes_on_B, drawn + 1 < limits.most_B)
    new = {"open": open_BKS, "score": open_score_BK, "done": done_BKS, "final": final_BK, "length": length_BK, "complete": complete_BK}
    new["searching"] = ops.logical_and(state["searching"], goes_on_B)
    return {name: _kept(state["searching"], value, state[name]) for name, value in new.items()}, from_BK


def _kept(searching_B: Any, new: Any, old: Any) -> Any:
    """What is new where the prompt was still searched, else what was there."""
    return ops.where(ops.reshape(searching_B, (-1, *(1 for _ in new.shape[1:]))), new, old)


class BeamSearch:
    """Finds the most probable continuations of prompts with one model.

    What is found depends on the weights and the prompt alone, up to rounding of near ties. A text ends with the token after
    a full context; a decoder's prompt that does not fit is cut to its last half.
    """

    def __init__(self, model: Cached, words: Settings, *, tokens_per_call: int = 64) -> None:
        if not 1 <= words.texts <= words.beams:
            raise ValueError(f"{words.texts} texts cannot come from {words.beams} beams")
        self.model, self.words, self.tokens_per_call = model, words, tokens_per_call
        self._search = compiled(self._search_steps, xla=model.xla)

    @property
    def compilations(self) -> int:
        """Programs that search: one for each (rows, cache length); the model has one that reads for each (rows, prompt length)."""
        return self._search.compilations

    def generate(self, prompts: Sequence[Sequence[int]], *, max_tokens: int) -> list[Continuation]:
        """For each prompt (not empty) the best `words.texts` continuations, best first, one prompt after the other."""
        found: list[Continuation] = []
        at_once = max(1, MAX_ROWS // self.words.beams)
        for at in range(0, len(prompts), at_once):
            found += self._together([[int(token) for token in prompt] for prompt in prompts[at : at + at_once]], max_tokens)
        return found

    def _together(self, windows: list[list[int]], max_tokens: int) -> list[Continuation]:
        context, prefix = self.model.context, self.model.prefix
        if not prefix:
            windows = [window if len(window) <= context else window[-max(1, context // 2) :] for window in windows]
        given_BP, given_B = left_padded(windows)
        tokens_BP, start_B = begun(prefix, len(given_B)) if prefix else (given_BP, given_B)
        batch, length = tokens_BP.shape
        most_B = np.clip(context - (length - start_B) + 1, 1, max_tokens).astype(np.int32)
        most_B[len(windows) :] = 1
        least_B = least(self.words, length - start_B)
        steps = int(most_B.max())
        slots = bucket(length + steps)
        index_R = np.repeat(np.arange(batch, dtype=np.int32), self.words.beams)
        logits_RV, cache, facts = (rows(x, index_R) for x in self.model.read(given_BP, given_B))
        ready = self.model.ready(len(index_R))
        cache, state = longer(cache, slots), self._start(tokens_BP, slots, np.arange(batch) < len(windows))
        done = 0
        while done < steps and np.asarray(state["searching"]).any():
            finite(logits_RV)
            count = min(self.tokens_per_call, steps - done)
            numbers = (np.int32(n) for n in (length + done, count, done))
            state, logits_RV, cache = self._search(state, logits_RV, cache, facts, ready, start_B, least_B, most_B, *numbers)
            done += count
        return self._found(state, length, len(windows))

    def _start(self, tokens_BP: np.ndarray, slots: int, real_B: np.ndarray) -> dict[str, np.ndarray]:
        """One beam with the prompt; the others are copies that no continuation is taken from."""
        batch, beams = len(tokens_BP), self.words.beams
        texts_BKS = np.repeat(np.pad(tokens_BP, ((0, 0), (0, slots - tokens_BP.shape[1])))[:, None], beams, axis=1)
        score_BK = np.full((batch, beams), NONE, np.float32)
        score_BK[:, 0] = 0
        none_BK = np.zeros((batch, beams), np.int32)
        finished = {"done": texts_BKS, "final": np.full_like(score_BK, NONE), "length": none_BK, "complete": none_BK > 0}
        return {"open": texts_BKS, "score": score_BK, **finished, "searching": real_B}

    def _search_steps(self, state, logits_RV, cache, facts, ready, start_B, least_B, most_B, slot, count, drawn):
        """Up to `count` steps from the slot `slot` on, after `drawn` new tokens; R = B x K rows."""
        beams = self.words.beams
        (batch,), (total, vocab_size) = start_B.shape, logits_RV.shape
        start_R, least_R, most_R = (ops.repeat(x, beams) for x in (start_B, least_B, most_B))
        limits = Limits(beams, self.words.length_penalty, self.words.early_stopping, most_B)
        first_B1 = ops.expand_dims(ops.arange(batch, dtype="int32") * beams, 1)

        def more(step: Any, state: Any, *_: Any) -> Any:
            return ops.logical_and(step < count, ops.any(state["searching"]))

        def search(step: Any, state: Any, logits_RV: Any, cache: Any) -> Any:
            at = slot + step
            written = Written(ops.reshape(state["open"], (total, -1)), start_R, at, drawn + step, least_R, most_R)
            scores_RV = constrain(ops.log_softmax(ops.cast(logits_RV, "float32"), axis=-1), written, self.words)
            scores_BKV = ops.reshape(scores_RV, (batch, beams, vocab_size)) + ops.expand_dims(state["score"], 2)
            state, from_BK = advance(state, scores_BKV, at, drawn + step, self.words.end, limits)
            cache = rows(cache, ops.reshape(from_BK + first_B1, (-1,)))
            newest_R1 = ops.slice(ops.reshape(state["open"], (total, -1)), (0, at), (total, 1))
            logits_RV, cache = self.model.step(newest_R1, cache, facts, ready, at, start_R)
            return step + 1, state, logits_RV, cache

        return ops.while_loop(more, search, (np.int32(0), state, logits_RV, cache))[1:]

    def _found(self, state: Any, length: int, prompts: int) -> list[Continuation]:
        done_BKS, length_BK, final_BK = (np.asarray(state[name]) for name in ("done", "length", "final"))
        found = []
        for row in range(prompts):
            for beam in range(self.words.texts):
                ids = done_BKS[row, beam, length : length + length_BK[row, beam]].tolist()
                ended = bool(ids) and ids[-1] in self.words.end
                found.append(Continuation(ids[:-1] if ended else ids, "end" if ended else "length", float(final_BK[row, beam])))
        return found
