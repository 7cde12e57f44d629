"""What turns token ids into vectors: token, position and token-type embeddings, summed, normed and dropped out."""

from typing import Any

from keras import ops

from lmkit.layers.dropout import dropout, layer_id
from lmkit.layers.layer import Layer
from lmkit.layers.weights import Normal, add_weight, canonical


class Embedding(Layer):
    """A table of `size` vectors: ids int[...] -> float32 [..., D]."""

    def __init__(self, size: int, hidden_size: int, *, stddev: float = 0.02, axis: str = "vocab", **options: Any) -> None:
        super().__init__(**options)
        self.size, self.hidden_size, self.stddev, self.axis = size, hidden_size, stddev, axis

    def build(self, input_shape: Any = None) -> None:
        self.embedding = add_weight(self, "embedding", (self.size, self.hidden_size), Normal(self.stddev), (self.axis, "hidden"))

    def call(self, ids: Any) -> Any:
        return ops.take(self.embedding, ids, axis=0)


class TokenInput(Layer):
    """norm(token + position + token type), then dropout, in the compute dtype; each part but the token may be None or 0."""

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        *,
        token_types: int = 0,
        position: Layer | None = None,
        norm: Layer | None = None,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.vocab_size, self.hidden_size, self.token_types, self.dropout = vocab_size, hidden_size, token_types, dropout
        self.position, self.norm = position, norm
        self.token = Embedding(vocab_size, hidden_size, name="token", dtype=self.dtype_policy)
        self.token_type = Embedding(token_types, hidden_size, axis="token_types", name="token_type") if token_types else None

    def build(self, input_shape: Any = None) -> None:
        for part in (self.token, self.position, self.token_type, self.norm):
            if part is not None:
                part.build()
        self.layer_id = layer_id(canonical(self) + ".dropout")

    def call(self, tokens: Any, *, positions: Any, token_types: Any = None, vectors: Any = None, row_key: Any = None) -> Any:
        """tokens int[B, T], or `vectors` [B, T, D] in their place -> [B, T, D]; token types default to 0."""
        x = ops.cast(vectors, "float32") if vectors is not None else self.token(tokens)
        if self.position is not None:
            x = x + self.position(positions)
        if self.token_type is not None:
            x = x + self.token_type(ops.zeros(ops.shape(x)[:2], "int32") if token_types is None else token_types)
        if self.norm is not None:
            x = self.norm(x)
        return dropout(ops.cast(x, self.compute_dtype), self.dropout, row_key, self.layer_id)
