"""Preferring the better of two answers: by the model's own probabilities (DPO, Rafailov et al., 2023), or by a score for each."""

from typing import Any, Literal

from keras import ops

from lmkit.heads.cross_entropy import row_sums
from lmkit.heads.language_model import LanguageModelHead
from lmkit.heads.sequence_class import SequenceClassHead

PreferenceLoss = Literal["sigmoid", "ipo", "hinge"]


def preference_loss(ratio_B: Any, kind: PreferenceLoss, beta: float, smoothing: float = 0.0) -> Any:
    """The loss [B] of log ratios h = log pi(better) / pi_ref(better) - log pi(worse) / pi_ref(worse).

    sigmoid: -(1 - s) log sigmoid(beta h) - s log sigmoid(-beta h), where the share s of the labels is taken to be wrong;
    ipo: (h - 1 / (2 beta))^2 (Azar et al., 2023); hinge: max(0, 1 - beta h) (Zhao et al., 2023).
    """
    if kind == "ipo":
        return ops.square(ratio_B - 0.5 / beta)
    if kind == "hinge":
        return ops.relu(1.0 - beta * ratio_B)
    return (1 - smoothing) * ops.softplus(-beta * ratio_B) + smoothing * ops.softplus(beta * ratio_B)


class DirectPreferenceHead(LanguageModelHead):
    """The language-modelling head under the loss of two answers, which are segments 1 and 2 of a row.

    The batch holds `{name}/labels` and `{name}/counted` [B, T], `{name}/weights` [B], and `{name}/reference` [B, 2], the log
    probabilities of both answers by the model as it was; without these they are taken as 0, and `log_probabilities` are those.
    """

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        *,
        beta: float = 0.1,
        loss: PreferenceLoss = "sigmoid",
        smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(hidden_size, vocab_size, **options)
        self.beta, self.loss, self.smoothing = beta, loss, smoothing

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any, row_key: Any = None) -> dict[str, Any]:
        """As every head, with `margin`: beta times the log ratio of a row, whose sign says whether it counts as correct."""
        own = {key: batch[f"{self.name}/{key}"] for key in ("labels", "counted", "weights")}
        log_B2 = self.log_probabilities(hidden_BTD, own["labels"], own["counted"], batch["segments"], embedding)
        ratio_B2 = log_B2 - batch.get(f"{self.name}/reference", 0.0)
        ratio_B = ratio_B2[:, 0] - ratio_B2[:, 1]
        loss_B = preference_loss(ratio_B, self.loss, self.beta, self.smoothing)
        return _preferred(loss_B, self.beta * ratio_B, own["weights"]) | {"log_probabilities": log_B2}

    def log_probabilities(self, hidden_BTD: Any, labels_BT: Any, counted_BT: Any, segments_BT: Any, embedding: Any) -> Any:
        """[B, 2]: of the labels that are counted in either segment."""
        loss_N, _, _ = self.judged(
            self.projected(ops.reshape(hidden_BTD, (-1, self.hidden_size))), ops.reshape(labels_BT, (-1,)), embedding
        )
        log_BT = -ops.reshape(loss_N, ops.shape(labels_BT)) * counted_BT
        return ops.stack([ops.sum(ops.where(ops.equal(segments_BT, i), log_BT, 0.0), axis=1) for i in (1, 2)], axis=1)


class RewardHead(SequenceClassHead):
    """A score for a text, learned from pairs: -log sigmoid(score of the better - score of the worse), segments 1 and 2 of a row."""

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        """As every head, with `margin`, the difference of the scores."""
        scores_B2 = self.scores(hidden_BTD, batch["segments"], batch["tokens"], row_key)
        margin_B = scores_B2[:, 0] - scores_B2[:, 1]
        return _preferred(ops.softplus(-margin_B), margin_B, batch[f"{self.name}/weights"])

    def scores(self, hidden_BTD: Any, segments_BT: Any, tokens_BT: Any, row_key: Any = None) -> Any:
        """[B, 2] float32: of either segment."""
        own = [self.logits(hidden_BTD, ops.cast(ops.equal(segments_BT, i), "int32"), row_key, tokens_BT) for i in (1, 2)]
        return ops.cast(ops.concatenate(own, axis=1), "float32")


def _preferred(loss_B: Any, margin_B: Any, weights_B: Any) -> dict[str, Any]:
    sums = row_sums(weights_B, loss=loss_B, margin=margin_B, correct=ops.cast(ops.greater(margin_B, 0.0), "float32"))
    return sums | {"predicted": margin_B}
