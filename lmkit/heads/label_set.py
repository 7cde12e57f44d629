"""Any number of labels for a row, each a yes or no by itself."""

from math import log
from typing import Any

from keras import ops

from lmkit.heads.cross_entropy import binary_cross_entropy, row_sums
from lmkit.heads.sequence_class import SequenceClassHead


class LabelSetHead(SequenceClassHead):
    """The classification head with a sigmoid for each label; labels [B, labels] are 1 for those that are right.

    The loss is the mean of the labels' binary cross-entropies, where the batch's `{name}/class_weights` [B, labels] weigh those of
    labels that are 1. A label is given where its probability is `threshold` or more; correct is a row with all of them right.
    """

    def __init__(self, hidden_size: int, num_labels: int, *, threshold: float = 0.5, **options: Any) -> None:
        super().__init__(hidden_size, num_labels, **options)
        self.threshold = threshold

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        logits_BV = ops.cast(self.logits(hidden_BTD, batch["segments"], row_key, batch["tokens"]), "float32")
        labels_BV = ops.cast(batch[f"{self.name}/labels"], "int32")
        given_BV = ops.cast(ops.greater_equal(logits_BV, log(self.threshold / (1 - self.threshold))), "int32")
        loss_B = ops.mean(binary_cross_entropy(logits_BV, labels_BV, batch.get(f"{self.name}/class_weights")), axis=-1)
        right_B = ops.min(ops.cast(ops.equal(given_BV, labels_BV), "float32"), axis=-1)
        sums = row_sums(batch[f"{self.name}/weights"], loss=loss_B, correct=right_B)
        return sums | {"predicted": given_BV, "probabilities": ops.sigmoid(logits_BV)}
