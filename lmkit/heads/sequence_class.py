"""One label for a row: classification of a text or a pair, and BERT's next-sentence prediction."""

from typing import Any

from lmkit.heads.pooling import Pooling, pool
from lmkit.heads.row_class import RowClassHead
from lmkit.heads.transform import build_parts, transformed
from lmkit.layers.dropout import dropout, layer_id
from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear
from lmkit.layers.weights import canonical


class SequenceClassHead(RowClassHead):
    """classifier(dropout(pooled)); with `pooler`, an activation, norm(activation(pooled W + b)) stands before the dropout.

    BERT's pooler is `tanh` on the first token; `pooler_norm` is a norm over D or None. `end_id` is the token that pooling
    `eos` looks for.
    """

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        *,
        pooling: Pooling = "first",
        end_id: int | None = None,
        pooler: str | None = None,
        pooler_bias: bool = True,
        pooler_norm: Layer | None = None,
        classifier_bias: bool = True,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        causal: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.num_labels, self.pooling, self.end_id = hidden_size, num_labels, pooling, end_id
        self.pooler, self.pooler_bias, self.pooler_norm = pooler, pooler_bias, pooler_norm
        self.classifier_bias, self.dropout, self.causal = classifier_bias, dropout, causal
        self.label_smoothing = label_smoothing
        shared = {"dtype": self.dtype_policy}
        self.dense = Linear(hidden_size, hidden_size, bias=pooler_bias, name="pooler", **shared) if pooler else None
        self.classifier = Linear(
            hidden_size, num_labels, bias=classifier_bias, axes=("hidden", "labels"), name="classifier", **shared
        )  # fmt: skip

    def build(self, input_shape: Any = None) -> None:
        build_parts(self.dense, self.pooler_norm, self.classifier)
        self.layer_id = layer_id(canonical(self) + ".dropout")

    def logits(self, hidden_BTD: Any, segments_BT: Any, row_key: Any = None, tokens_BT: Any = None) -> Any:
        """[B, labels] in the dtype of `hidden`; `tokens_BT` is read by pooling `eos` alone."""
        return self.classified(pool(hidden_BTD, segments_BT, self.pooling, tokens_BT=tokens_BT, end_id=self.end_id), row_key)

    def classified(self, pooled: Any, row_key: Any = None) -> Any:
        """[B, ..., D] -> [B, ..., labels]: all that comes behind the pooling."""
        x = transformed(pooled, self.dense, self.pooler or "", self.pooler_norm)
        return self.classifier(dropout(x, self.dropout, row_key, self.layer_id))
