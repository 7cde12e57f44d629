"""Replaced-token detection (ELECTRA, Clark et al. 2020): which tokens did a generator put there?"""

from typing import Any

from keras import ops

from lmkit.heads.cross_entropy import binary_cross_entropy, row_sums
from lmkit.heads.generator import Generator, placed
from lmkit.heads.token_class import TokenClassHead


class ReplacedTokenHead(TokenClassHead):
    """A token head with one output, above 0 for a token that is not the text's own; labels [B, T] are 1 for such tokens.

    With a `generator` these are the tokens that it puts in the places `{name}/where` [B, M] of the text, where they are not the
    `{name}/hidden` ones that stood there; it reads `{name}/masked` [B, T]. The loss is then the generator's, each hidden place
    counting `{name}/shares` [B, M], and `discriminator_weight` times its own.
    """

    causal = False

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        *,
        generator: Generator | None = None,
        discriminator_weight: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(hidden_size, num_labels, **options)
        self.generator, self.discriminator_weight = generator, discriminator_weight

    def build(self, input_shape: Any = None) -> None:
        super().build()
        if self.generator is not None:
            self.generator.build()

    def prepared(self, batch: dict[str, Any], *, embedding: Any, row_key: Any = None) -> dict[str, Any]:
        """The batch with what the generator wrote, the labels that follow, and its `{name}/generator` sums."""
        if self.generator is None:
            return batch
        masked, where, hidden, shares = (batch[f"{self.name}/{key}"] for key in ("masked", "where", "hidden", "shares"))
        made = self.generator(masked, where, hidden, shares, batch=batch, embedding=embedding, row_key=row_key)
        tokens = placed(batch["tokens"], where, ops.greater(shares, 0), made.pop("drawn"))
        labels = ops.cast(ops.not_equal(tokens, batch["tokens"]), "int32")
        return batch | {"tokens": tokens, f"{self.name}/labels": labels, f"{self.name}/generator": made}

    def logits(self, hidden_BTD: Any, segments_BT: Any = None, row_key: Any = None) -> Any:
        """[B, T] in the dtype of `hidden`; what stands at padding means nothing."""
        return ops.squeeze(self.scores(hidden_BTD, row_key), -1)

    def call(self, hidden_BTD: Any, *, batch: dict[str, Any], embedding: Any = None, row_key: Any = None) -> dict[str, Any]:
        """As every head, with the number of `replaced` tokens; with a generator also what its loss is made of, and `generator_accuracy`."""
        logits_BT, labels_BT = self.logits(hidden_BTD, batch["segments"], row_key), batch[f"{self.name}/labels"]
        predicted = ops.cast(ops.greater(logits_BT, 0), "int32")
        right = ops.cast(ops.equal(predicted, ops.cast(labels_BT, "int32")), "float32")
        judged = {"loss": binary_cross_entropy(logits_BT, labels_BT), "correct": right, "replaced": ops.cast(labels_BT, "float32")}
        sums = row_sums(batch[f"{self.name}/weights"], **judged) | {"predicted": predicted}
        made = batch.get(f"{self.name}/generator")
        if made is None:
            return sums
        parts = {"discriminator_loss": sums["loss"], "generator_loss": made["loss"], "generator_accuracy": made["correct"]}
        return sums | parts | {"loss": made["loss"] + self.discriminator_weight * sums["loss"]}
