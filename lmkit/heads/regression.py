"""One number for a row, such as the likeness of two sentences."""

from typing import Any

from keras import ops

from lmkit.heads.cross_entropy import row_sums
from lmkit.heads.sequence_class import SequenceClassHead


def squared_error(value_B: Any, target_B: Any) -> Any:
    """(value - target)^2 in float32."""
    return ops.square(ops.cast(value_B, "float32") - ops.cast(target_B, "float32"))


class RegressionHead(SequenceClassHead):
    """The classification head with one output, whose loss is the squared error; nothing counts as correct."""

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        """As every head; labels are float32 [B]."""
        value_B = ops.squeeze(self.logits(hidden_BTD, batch["segments"], row_key, batch["tokens"]), -1)
        loss_B = squared_error(value_B, batch[f"{self.name}/labels"])
        sums = row_sums(batch[f"{self.name}/weights"], loss=loss_B, correct=ops.zeros_like(loss_B))
        return sums | {"predicted": ops.cast(value_B, "float32")}
