"""What heads with one label for a row share: the loss and the answer that follow from their logits."""

from collections.abc import Callable
from typing import Any

from keras import ops

from lmkit.heads.cross_entropy import row_losses, weighted_cross_entropy
from lmkit.heads.head import Head


class RowClassHead(Head):
    """`logits(hidden_BTD, segments_BT, row_key=None, tokens_BT=None)` gives [B, labels]; what is made of them is here.

    `label_smoothing` acts in training alone; where a batch has `{name}/class_weights` [B, labels], what it shares is weighed by
    them, as torch does: (1 - s) w_y nll_y + s mean_c(w_c nll_c), over the sum of w_y.
    """

    logits: Callable[..., Any]
    label_smoothing = 0.0

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        logits_BV = self.logits(hidden_BTD, batch["segments"], row_key, batch["tokens"])
        smoothing = 0.0 if row_key is None else self.label_smoothing
        shares_BV = batch.get(f"{self.name}/class_weights") if smoothing else None
        alike = smoothing if shares_BV is None else 0.0
        losses = row_losses(logits_BV, batch[f"{self.name}/labels"], batch[f"{self.name}/weights"], alike)
        if shares_BV is not None:
            losses["loss"] = (1 - smoothing) * losses["loss"] + smoothing * weighted_cross_entropy(logits_BV, shares_BV)
        return losses | {"predicted": ops.argmax(logits_BV, axis=-1), "probabilities": ops.softmax(ops.cast(logits_BV, "float32"))}
