"""One label for each token: names in a text, parts of speech."""

from typing import Any

from keras import ops

from lmkit.heads.cross_entropy import row_losses
from lmkit.heads.head import Head
from lmkit.heads.transform import build_parts, transformed
from lmkit.layers.dropout import dropout, layer_id
from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear
from lmkit.layers.weights import canonical


class TokenClassHead(Head):
    """classifier(dropout(hidden)); with `transform`, an activation, norm(activation(hidden W + b)) stands before the dropout.

    `transform_norm` is a norm over D or None. Labels and weights are [B, T]; a token of weight 0 has no label.
    """

    called = "classifier"  # the last projection, in the names of its weights

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        *,
        transform: str | None = None,
        transform_bias: bool = True,
        transform_norm: Layer | None = None,
        classifier_bias: bool = True,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.num_labels, self.dropout = hidden_size, num_labels, dropout
        self.transform, self.transform_bias, self.transform_norm = transform, transform_bias, transform_norm
        self.classifier_bias = classifier_bias
        shared = {"dtype": self.dtype_policy}
        self.dense = Linear(hidden_size, hidden_size, bias=transform_bias, name="transform", **shared) if transform else None
        self.classifier = Linear(hidden_size, num_labels, bias=classifier_bias, axes=("hidden", "labels"), name=self.called, **shared)

    def build(self, input_shape: Any = None) -> None:
        build_parts(self.dense, self.transform_norm, self.classifier)
        self.layer_id = layer_id(canonical(self) + ".dropout")

    def scores(self, hidden_BTD: Any, row_key: Any = None) -> Any:
        """[B, T, labels] in the dtype of `hidden`."""
        x = transformed(hidden_BTD, self.dense, self.transform or "", self.transform_norm)
        return self.classifier(dropout(x, self.dropout, row_key, self.layer_id))

    def logits(self, hidden_BTD: Any, segments_BT: Any = None, row_key: Any = None) -> Any:
        """[B, T, labels] in the dtype of `hidden`; what stands at padding means nothing."""
        return self.scores(hidden_BTD, row_key)

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        logits_BTV = self.logits(hidden_BTD, batch["segments"], row_key)
        flat_NV = ops.reshape(logits_BTV, (-1, self.num_labels))
        losses = row_losses(flat_NV, batch[f"{self.name}/labels"], batch[f"{self.name}/weights"])
        return losses | {"predicted": ops.argmax(logits_BTV, axis=-1)}
