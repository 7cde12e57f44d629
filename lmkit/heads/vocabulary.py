"""What heads over the vocabulary share: the projection onto the token table or a kernel of their own."""

from collections.abc import Callable
from typing import Any

from keras import ops

from lmkit.engine.tensorflow import in_chunks
from lmkit.heads.cross_entropy import cross_entropy
from lmkit.heads.head import Head
from lmkit.layers.linear import Linear, linear
from lmkit.layers.weights import add_weight


def project(hidden: Any, embedding_VD: Any) -> Any:
    """hidden [..., D] onto every row of the token table: [..., V]."""
    return linear(hidden, ops.transpose(ops.cast(embedding_VD, hidden.dtype)))


def softcapped(logits: Any, cap: float) -> Any:
    """cap tanh(logits / cap), computed in float32 and returned in the dtype of `logits` (Gemma 2)."""
    return ops.cast(cap * ops.tanh(ops.cast(logits, "float32") / cap), logits.dtype)


def _highest(logits_NV: Any) -> Any:
    return ops.cast(ops.argmax(logits_NV, axis=-1), "int32")


class VocabularyHead(Head):
    """logits = softcap(scale * x W + bias); W is the table's transpose when tied, else the kernel `output` [E, V].

    E is the width of the token table: `embedding_size` where the body projects it, else D. Without `train_bias` the bias
    stays as it is. Where `chunk` is set, losses are computed for so many tokens at a time, and [tokens, V] never exists.
    """

    chunk: int | None = None

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        *,
        tied: bool = True,
        embedding_size: int | None = None,
        bias: bool = False,
        train_bias: bool = True,
        scale: float = 1.0,
        softcap: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.vocab_size, self.tied, self.bias = hidden_size, vocab_size, tied, bias
        self.train_bias = train_bias
        self.embedding_size, self.scale, self.softcap = embedding_size, scale, softcap
        shared = {"bias": False, "axes": ("hidden", "vocab"), "dtype": self.dtype_policy}
        self.out = None if tied else Linear(embedding_size or hidden_size, vocab_size, name="output", **shared)

    def build_output(self) -> None:
        """Makes the kernel and the bias, where there are such."""
        if self.out is not None:
            self.out.build()
        self.bias_weight = add_weight(self, "bias", (self.vocab_size,), "zeros", ("vocab",)) if self.bias else None
        if self.bias_weight is not None:
            self.bias_weight.trainable = self.train_bias

    def scores(self, x: Any, embedding: Any) -> Any:
        """x [..., E] -> [..., V] in the dtype of `x`."""
        return self._scores(x, *self._weights(embedding))

    def judged(
        self,
        x_NE: Any,
        labels_N: Any,
        embedding: Any,
        smoothing: float = 0.0,
        *,
        choose: Callable[..., Any] = _highest,
        by: tuple[Any, ...] = (),
    ) -> tuple[Any, Any, Any]:
        """Of each token the cross-entropy and whether it is right, float32 [N], and the class `choose(logits_NV, *by)`, int32 [N].

        That is the one of the highest score, unless the caller chooses otherwise by tensors of N entries.
        """
        if self.chunk is None:
            logits_NV = self.scores(x_NE, embedding)
            return *cross_entropy(logits_NV, labels_N, smoothing), choose(logits_NV, *by)
        weights = self._weights(embedding)
        loss_N, correct_N = in_chunks(
            lambda x, labels, *weights: cross_entropy(self._scores(x, *weights), labels, smoothing),
            (x_NE, labels_N),
            weights,
            self.chunk,
            ("float32", "float32"),
        )
        # Apart: training does not ask for the highest score, which is then not computed.
        (chosen_N,) = in_chunks(
            lambda x, *rest: (choose(self._scores(x, *rest[len(by) :]), *rest[: len(by)]),),
            (ops.stop_gradient(x_NE), *by),
            weights,
            self.chunk,
            ("int32",),
        )
        return loss_N, correct_N, chosen_N

    def _weights(self, embedding: Any) -> list[Any]:
        table = embedding if self.out is None else self.out.kernel_weight
        return [table] if self.bias_weight is None else [table, self.bias_weight]

    def _scores(self, x: Any, table: Any, bias: Any = None) -> Any:
        x = x if self.scale == 1 else x * ops.cast(self.scale, x.dtype)
        scores = project(x, table) if self.out is None else linear(x, table)
        scores = scores if bias is None else scores + ops.cast(bias, scores.dtype)
        return scores if self.softcap is None else softcapped(scores, self.softcap)
