"""Sentence embeddings (Sentence-BERT, Reimers and Gurevych 2019): a vector for a text, close for texts of like meaning."""

from typing import Any

from keras import ops

from lmkit.heads.head import Head
from lmkit.heads.pooling import Pooling, pool


def unit(x_BD: Any) -> Any:
    """x / |x|, with the length at least 1e-12."""
    return x_BD * ops.rsqrt(ops.maximum(ops.sum(ops.square(x_BD), axis=-1, keepdims=True), 1e-24))


class SentenceEmbeddingHead(Head):
    """The pooled hidden states in float32, of length 1 if `normalize`; no weights, and no loss of its own."""

    def __init__(self, *, pooling: Pooling = "mean", normalize: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.pooling, self.normalize = pooling, normalize

    def build(self, input_shape: Any = None) -> None:
        pass

    def embed(self, hidden_BTD: Any, segments_BT: Any) -> Any:
        """float32 [B, D]."""
        x = pool(ops.cast(hidden_BTD, "float32"), segments_BT, self.pooling)
        return unit(x) if self.normalize else x

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        return {"predicted": self.embed(hidden_BTD, batch["segments"])}
