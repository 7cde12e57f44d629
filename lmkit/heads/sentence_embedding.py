"""Sentence embeddings (Sentence-BERT, Reimers and Gurevych 2019): a vector for a text, close for texts of like meaning."""

from typing import Any, Literal

from keras import ops

from lmkit.attention.masks import HIDDEN
from lmkit.heads.cross_entropy import cross_entropy, row_sums
from lmkit.heads.head import Head
from lmkit.heads.pooling import Pooling, pool

EmbeddingLoss = Literal["contrastive", "simcse", "cosine"]


def unit(x_BD: Any) -> Any:
    """x / |x|, with the length at least 1e-12."""
    return x_BD * ops.rsqrt(ops.maximum(ops.sum(ops.square(x_BD), axis=-1, keepdims=True), 1e-24))


def contrast(first_BD: Any, second_BD: Any, weights_B: Any, *, group: int, temperature: float, symmetric: bool) -> tuple[Any, Any]:
    """The loss of finding each row's second vector among those of its group of neighbouring rows (InfoNCE), and whether it is nearest.

    -log softmax_j(cos(first_i, second_j) / temperature) at j = i, float32 [B]; rows of weight 0 are nobody's answer. `symmetric` is
    the mean of that and the same with first and second exchanged. B is a multiple of `group`.
    """
    first, second = (ops.reshape(unit(x), (-1, group, x.shape[-1])) for x in (first_BD, second_BD))
    cosines_GII = ops.matmul(first, ops.transpose(second, (0, 2, 1)))
    there = ops.reshape(ops.greater(weights_B, 0), (-1, 1, group))
    own = ops.reshape(ops.zeros((ops.shape(weights_B)[0] // group, 1), "int32") + ops.arange(group, dtype="int32"), (-1,))

    def found(scores_GII: Any) -> tuple[Any, Any]:
        among = ops.where(there, scores_GII / temperature, HIDDEN)
        return cross_entropy(ops.reshape(among, (-1, group)), own)

    loss, nearest = found(cosines_GII)
    if symmetric:
        loss = (loss + found(ops.transpose(cosines_GII, (0, 2, 1)))[0]) / 2
    return loss, nearest


class SentenceEmbeddingHead(Head):
    """The pooled hidden states in float32, of length 1 if `normalize`; no weights.

    The two texts of a row are its segments 1 and 2. Under loss `cosine` the square of what their cosine lacks to `{name}/labels`, else
    `contrast` over groups of `negatives` neighbouring rows, all rows that are given if None.
    """

    def __init__(
        self,
        *,
        pooling: Pooling = "mean",
        normalize: bool = True,
        loss: EmbeddingLoss = "contrastive",
        negatives: int | None = None,
        temperature: float = 0.05,
        symmetric: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.pooling, self.normalize, self.loss = pooling, normalize, loss
        self.negatives, self.temperature, self.symmetric = negatives, temperature, symmetric

    def build(self, input_shape: Any = None) -> None:
        pass

    def embed(self, hidden_BTD: Any, segments_BT: Any) -> Any:
        """float32 [B, D]."""
        x = pool(ops.cast(hidden_BTD, "float32"), segments_BT, self.pooling)
        return unit(x) if self.normalize else x

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        """As every head, with the cosine of both texts as `predicted`; a row is correct whose texts are nearest to each other."""
        first, second = (self.embed(hidden_BTD, ops.cast(ops.equal(batch["segments"], i), "int32")) for i in (1, 2))
        labels, weights = batch[f"{self.name}/labels"], batch[f"{self.name}/weights"]
        cosine = ops.sum(unit(first) * unit(second), axis=-1)
        group = min(self.negatives or weights.shape[0], weights.shape[0])
        words: dict[str, Any] = {"temperature": self.temperature, "symmetric": self.symmetric}
        if self.loss == "cosine":
            loss = ops.square(cosine - labels)
            correct = ops.zeros_like(loss)
        else:
            loss, correct = contrast(first, second, weights, group=group, **words)
        return row_sums(weights, loss=loss, correct=correct) | {"predicted": cosine}
