"""One of several texts that could go with a text: a score for each, and the likeliest is the answer."""

from typing import Any

from keras import ops

from lmkit.attention.masks import HIDDEN
from lmkit.heads.cross_entropy import row_losses
from lmkit.heads.pooling import pool
from lmkit.heads.sequence_class import SequenceClassHead


class MultipleChoiceHead(SequenceClassHead):
    """The classification head with one output, made of each segment of a row, which is one pair of the text and a choice.

    The batch holds `{name}/choices` [B, C], 1 for each choice that a row has; the loss is the cross-entropy among these.
    """

    def logits(self, hidden_BTD: Any, segments_BT: Any, row_key: Any = None, tokens_BT: Any = None, *, count: int = 1) -> Any:
        """[B, count] in the dtype of `hidden`: of segments 1 to `count`; those of segments that are not there mean nothing."""
        segments = [ops.cast(ops.equal(segments_BT, number), "int32") for number in range(1, count + 1)]
        pooled = [pool(hidden_BTD, segment, self.pooling, tokens_BT=tokens_BT, end_id=self.end_id) for segment in segments]
        return ops.squeeze(self.classified(ops.stack(pooled, axis=1), row_key), -1)

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        logits_BC = self.among(hidden_BTD, batch["segments"], batch[f"{self.name}/choices"], row_key, batch["tokens"])
        losses = row_losses(logits_BC, batch[f"{self.name}/labels"], batch[f"{self.name}/weights"])
        return losses | {"predicted": ops.argmax(logits_BC, axis=-1), "probabilities": ops.softmax(logits_BC)}

    def among(self, hidden_BTD: Any, segments_BT: Any, choices_BC: Any, row_key: Any = None, tokens_BT: Any = None) -> Any:
        """float32 [B, C]: the logits of the choices that are there, far below all others for those that are not."""
        logits_BC = self.logits(hidden_BTD, segments_BT, row_key, tokens_BT, count=choices_BC.shape[1])
        return ops.where(ops.greater(choices_BC, 0), ops.cast(logits_BC, "float32"), HIDDEN)
