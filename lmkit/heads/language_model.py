"""Language modelling from the left: the next token from each hidden state of a decoder, alone or beside an encoder."""

from typing import Any

from keras import ops

from lmkit.heads.cross_entropy import row_sums
from lmkit.heads.vocabulary import VocabularyHead
from lmkit.layers.linear import Linear


class LanguageModelHead(VocabularyHead):
    """Scores of the hidden states, which a `projection` [D, E] first takes to the token table where `embedding_size` is given.

    `label_smoothing` acts in training alone, so that evaluation reports nats of the labels.
    """

    causal = True

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        *,
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(hidden_size, vocab_size, **options)
        self.label_smoothing = label_smoothing
        shared = {"bias": False, "dtype": self.dtype_policy}
        self.projection = Linear(hidden_size, self.embedding_size, name="projection", **shared) if self.embedding_size else None

    def build(self, input_shape: Any = None) -> None:
        if self.projection is not None:
            self.projection.build()
        self.build_output()

    def logits(self, hidden: Any, embedding: Any) -> Any:
        """hidden [..., D] -> [..., V] in the dtype of `hidden`."""
        return self.scores(self.projected(hidden), embedding)

    def projected(self, hidden: Any) -> Any:
        """hidden [..., D] -> [..., E]."""
        return hidden if self.projection is None else self.projection(hidden)

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any, row_key: Any = None) -> dict[str, Any]:
        labels, x_NE = batch[f"{self.name}/labels"], self.projected(ops.reshape(hidden_BTD, (-1, self.hidden_size)))
        smoothing = 0.0 if row_key is None else self.label_smoothing
        loss, correct, predicted = self.judged(x_NE, ops.reshape(labels, (-1,)), embedding, smoothing)
        sums = row_sums(batch[f"{self.name}/weights"], loss=loss, correct=correct)
        return sums | {"predicted": ops.reshape(predicted, ops.shape(labels))}
