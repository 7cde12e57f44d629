"""Extractive question answering (BERT, section 4.2): where the answer begins in a text, and where it ends."""

from typing import Any

from keras import ops

from lmkit.attention.masks import HIDDEN
from lmkit.heads.cross_entropy import cross_entropy, row_sums
from lmkit.heads.token_class import TokenClassHead


class QuestionAnsweringHead(TokenClassHead):
    """Two scores for each real token; labels [B, 2] are the first and the last place of the answer, weights [B].

    The loss is the mean of the two cross-entropies over a row's real tokens; correct is a row with both places right.
    """

    called = "span"

    def logits(self, hidden_BTD: Any, segments_BT: Any = None, row_key: Any = None) -> Any:
        """float32 [B, 2, T]: scores of a beginning and of an end, far below all others where segment is 0."""
        scores_B2T = ops.cast(ops.transpose(self.scores(hidden_BTD, row_key), (0, 2, 1)), "float32")
        return scores_B2T if segments_BT is None else ops.where(ops.expand_dims(ops.not_equal(segments_BT, 0), 1), scores_B2T, HIDDEN)

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        logits_B2T = self.logits(hidden_BTD, batch["segments"], row_key)
        rows, _, length = ops.shape(logits_B2T)
        loss, correct = cross_entropy(ops.reshape(logits_B2T, (-1, length)), ops.reshape(batch[f"{self.name}/labels"], (-1,)))
        loss_B, right_B = ops.mean(ops.reshape(loss, (rows, 2)), axis=1), ops.min(ops.reshape(correct, (rows, 2)), axis=1)
        sums = row_sums(batch[f"{self.name}/weights"], loss=loss_B, correct=right_B)
        return sums | {"predicted": ops.argmax(logits_B2T, axis=-1)}
