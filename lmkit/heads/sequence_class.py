"""One label for a row: classification of a text or a pair, and BERT's next-sentence prediction."""

from typing import Any, Literal

from keras import ops

from lmkit.heads.cross_entropy import row_losses
from lmkit.heads.head import Head
from lmkit.heads.masked_language_model import gather_rows
from lmkit.layers.dropout import dropout, layer_id
from lmkit.layers.linear import Linear
from lmkit.layers.weights import canonical

Pooling = Literal["first", "mean", "last"]


def pool(hidden_BTD: Any, segments_BT: Any, pooling: Pooling) -> Any:
    """[B, D]: the first token, the mean over real tokens (segment != 0), or the last real token."""
    real = ops.not_equal(segments_BT, 0)
    if pooling == "mean":
        weight = ops.expand_dims(ops.cast(real, "float32"), -1)
        total = ops.sum(ops.cast(hidden_BTD, "float32") * weight, axis=1)
        return ops.cast(total / ops.maximum(ops.sum(weight, axis=1), 1.0), hidden_BTD.dtype)
    where = ops.zeros_like(segments_BT)
    if pooling == "last":
        index = ops.expand_dims(ops.arange(ops.shape(segments_BT)[1], dtype="int32"), 0)
        where = ops.where(real, index, 0)
    place = ops.max(ops.cast(where, "int32"), axis=1, keepdims=True)
    return ops.squeeze(gather_rows(hidden_BTD, place), 1)


class SequenceClassHead(Head):
    """classifier(dropout(pooled)); with pooling `first`, BERT's pooler tanh(W x + b) stands before the dropout."""

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        *,
        pooling: Pooling = "first",
        dropout: float = 0.0,
        causal: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.num_labels, self.pooling, self.dropout, self.causal = hidden_size, num_labels, pooling, dropout, causal
        shared = {"dtype": self.dtype_policy}
        self.pooler = Linear(hidden_size, hidden_size, name="pooler", **shared) if pooling == "first" else None
        self.classifier = Linear(hidden_size, num_labels, axes=("hidden", "labels"), name="classifier", **shared)

    def build(self, input_shape: Any = None) -> None:
        for part in (self.pooler, self.classifier):
            if part is not None:
                part.build()
        self.layer_id = layer_id(canonical(self) + ".dropout")

    def logits(self, hidden_BTD: Any, segments_BT: Any, row_key: Any = None) -> Any:
        """[B, labels] in the dtype of `hidden`."""
        x = pool(hidden_BTD, segments_BT, self.pooling)
        x = x if self.pooler is None else ops.tanh(self.pooler(x))
        return self.classifier(dropout(x, self.dropout, row_key, self.layer_id))

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        logits_BV = self.logits(hidden_BTD, batch["segments"], row_key)
        losses = row_losses(logits_BV, batch[f"{self.name}/labels"], batch[f"{self.name}/weights"])
        return losses | {"predicted": ops.argmax(logits_BV, axis=-1), "probabilities": ops.softmax(ops.cast(logits_BV, "float32"))}
