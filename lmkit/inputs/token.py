"""What turns token ids into vectors: token, position and token-type embeddings, summed, normed and dropped out."""

from typing import Any

from keras import ops

from lmkit.layers.dropout import dropout, layer_id
from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear
from lmkit.layers.weights import Normal, add_weight, canonical
from lmkit.positions.learned import places


class Embedding(Layer):
    """A table of `size` vectors: ids int[...] -> float32 [..., D]."""

    def __init__(self, size: int, hidden_size: int, *, stddev: float = 0.02, axis: str = "vocab", **options: Any) -> None:
        super().__init__(**options)
        self.size, self.hidden_size, self.stddev, self.axis = size, hidden_size, stddev, axis

    def build(self, input_shape: Any = None) -> None:
        self.embedding = add_weight(self, "embedding", (self.size, self.hidden_size), Normal(self.stddev), (self.axis, "hidden"))

    def call(self, ids: Any) -> Any:
        return ops.cast(ops.take(self.embedding, ids, axis=0), "float32")


class TokenInput(Layer):
    """norm(token + position + token type), then dropout, in the compute dtype; each part but the token may be None or 0.

    Without a table of its own (`vocab_size` 0) it is given vectors. `scale` multiplies the token vectors. Where
    `embedding_size` is given, a projection stands at the end, with a bias, if there is a norm (ALBERT), and else on the token
    vectors alone, without (OPT).
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        *,
        embedding_size: int | None = None,
        scale: float = 1.0,
        token_types: int = 0,
        position: Layer | None = None,
        norm: Layer | None = None,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.vocab_size, self.hidden_size, self.token_types, self.dropout = vocab_size, hidden_size, token_types, dropout
        self.embedding_size, self.scale, self.position, self.norm = embedding_size, scale, position, norm
        width = embedding_size or hidden_size
        summed = width if norm is not None else hidden_size
        self.token: Any = Embedding(vocab_size, width, name="token", dtype=self.dtype_policy) if vocab_size else None
        self.token_type = Embedding(token_types, summed, axis="token_types", name="token_type") if token_types else None
        shared = {"axes": ("embedding", "hidden"), "name": "projection", "dtype": self.dtype_policy}
        self.projection = Linear(embedding_size, hidden_size, bias=norm is not None, **shared) if embedding_size else None

    def build(self, input_shape: Any = None) -> None:
        for part in (self.token, self.position, self.token_type, self.norm, self.projection):
            if part is not None:
                part.build()
        self.layer_id = layer_id(canonical(self) + ".dropout")

    def places(self, tokens: Any) -> Any:
        """Positions int[B, T] of the tokens of rows that begin here, where they depend on the tokens; else None."""
        padding_id = getattr(self.position, "padding_id", None)
        return None if padding_id is None or tokens is None else places(tokens, padding_id)

    def call(self, tokens: Any, *, positions: Any, token_types: Any = None, vectors: Any = None, row_key: Any = None) -> Any:
        """tokens int[B, T], and `vectors` [B, T, E] in the place of their embeddings or of both -> [B, T, D]; token types default to 0."""
        x = ops.cast(vectors, "float32") if vectors is not None else self.token(tokens)
        x = x if self.scale == 1 else x * self.scale
        if self.projection is not None and self.norm is None:
            x = ops.cast(self.projection(ops.cast(x, self.compute_dtype)), "float32")
        if self.position is not None:
            x = x + ops.cast(self.position(positions, tokens), "float32")
        if self.token_type is not None:
            x = x + self.token_type(ops.zeros(ops.shape(x)[:2], "int32") if token_types is None else token_types)
        if self.norm is not None:
            x = self.norm(x)
        x = dropout(ops.cast(x, self.compute_dtype), self.dropout, row_key, self.layer_id)
        return x if self.projection is None or self.norm is None else self.projection(x)
