"""Replaced-token detection (ELECTRA, Clark et al. 2020): which tokens did a generator put there?"""

from typing import Any

from keras import ops

from lmkit.heads.cross_entropy import binary_cross_entropy, row_sums
from lmkit.heads.token_class import TokenClassHead


class ReplacedTokenHead(TokenClassHead):
    """A token head with one output, above 0 for a token that is not the text's own; labels [B, T] are 1 for such tokens."""

    causal = False

    def logits(self, hidden_BTD: Any, segments_BT: Any = None, row_key: Any = None) -> Any:
        """[B, T] in the dtype of `hidden`; what stands at padding means nothing."""
        return ops.squeeze(self.scores(hidden_BTD, row_key), -1)

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        logits_BT, labels_BT = self.logits(hidden_BTD, batch["segments"], row_key), batch[f"{self.name}/labels"]
        predicted = ops.cast(ops.greater(logits_BT, 0), "int32")
        right = ops.cast(ops.equal(predicted, ops.cast(labels_BT, "int32")), "float32")
        loss = binary_cross_entropy(logits_BT, labels_BT)
        return row_sums(batch[f"{self.name}/weights"], loss=loss, correct=right) | {"predicted": predicted}
