"""The work that every side does, and what it costs in multiplications."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Workload:
    """One shape of work; `new_tokens` > 0 means generation after prompts of `length` tokens."""

    kind: Literal["causal_lm", "masked_lm"]
    layers: int
    width: int
    heads: int
    vocabulary: int
    length: int
    batch: int
    dropout: float = 0.0
    masked: int = 0
    new_tokens: int = 0

    @property
    def tokens_per_step(self) -> int:
        """Input tokens of a training step; new tokens of a generation."""
        return self.batch * (self.new_tokens or self.length)

    @property
    def flops_per_token(self) -> float:
        """Forward and backward: 6 per weight used and 12 T D per layer for attention; logits at predicted positions only."""
        body = 12 * self.layers * self.width**2
        share = self.masked / self.length if self.masked else 1.0
        head = share * (self.vocabulary * self.width + (self.width**2 if self.masked else 0))
        return 6 * (body + head) + 12 * self.layers * self.length * self.width


CAUSAL = Workload("causal_lm", layers=6, width=384, heads=6, vocabulary=8192, length=256, batch=8, dropout=0.1)
MASKED = Workload("masked_lm", layers=4, width=256, heads=4, vocabulary=30522, length=128, batch=32, dropout=0.1, masked=20)
CHARACTER = Workload("causal_lm", layers=4, width=128, heads=4, vocabulary=65, length=64, batch=12)

GPT2 = Workload("causal_lm", layers=12, width=768, heads=12, vocabulary=50257, length=1024, batch=16, dropout=0.1)  # for a GPU
BERT = Workload("masked_lm", layers=12, width=768, heads=12, vocabulary=30522, length=512, batch=32, dropout=0.1, masked=76)  # likewise

WORKLOADS = {
    "causal_lm": CAUSAL,
    "causal_lm_no_dropout": Workload(**{**CAUSAL.__dict__, "dropout": 0.0}),
    "masked_lm": MASKED,
    "masked_lm_no_dropout": Workload(**{**MASKED.__dict__, "dropout": 0.0}),
    "character": CHARACTER,
    "gpt2": GPT2,
    "bert": BERT,
    "generate_1": Workload(**{**CAUSAL.__dict__, "dropout": 0.0, "length": 64, "batch": 1, "new_tokens": 128}),
    "generate_8": Workload(**{**CAUSAL.__dict__, "dropout": 0.0, "length": 64, "batch": 8, "new_tokens": 128}),
}
LEARNING_RATE, WEIGHT_DECAY, CLIP_NORM = 3e-4, 0.01, 1.0


def random_batch(work: Workload, step: int) -> dict[str, np.ndarray]:
    """Random ids: `tokens` [B, T], for causal work their `labels` [B, T], for masked work `where` and `labels` [B, M]."""
    generator = np.random.default_rng(step)
    tokens = generator.integers(5, work.vocabulary, (work.batch, work.length + 1), dtype=np.int32)
    if not work.masked:
        return {"tokens": tokens[:, :-1], "labels": tokens[:, 1:]}
    order = generator.permuted(np.tile(np.arange(work.length, dtype=np.int32), (work.batch, 1)), axis=1)
    where = np.sort(order[:, : work.masked], axis=1)
    inputs = tokens[:, :-1].copy()
    labels = np.take_along_axis(inputs, where, axis=1)
    np.put_along_axis(inputs, where, 4, axis=1)
    return {"tokens": inputs, "where": where, "labels": labels}
