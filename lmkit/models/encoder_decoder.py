"""An encoder with a decoder beside it (Vaswani et al., 2017): one text is read whole, another written while looking at it."""

from typing import Any

import keras
from keras import ops

from lmkit.attention.multi_head import Collect, under
from lmkit.inputs.token import Embedding
from lmkit.layers.layer import Layer
from lmkit.models.backbone import Backbone

Memory = tuple[tuple[Any, Any], ...]


class EncoderDecoderBackbone(Layer):
    """Two backbones, named `encoder` and `decoder`; `token`, if there is one, is the table [V, E] that both read.

    `start_id` is the token that the decoder begins with, where that is known.

    To write a text token by token, call `encode` once, `remember` what it gives, and `decode` with a cache:

        memory = body.remember(body.encode(tokens, segments=segments))
        cache = body.decoder.empty_cache(batch, slots)
        hidden, cache = body.decode(new, memory=memory, memory_segments=segments, cache=cache, cache_index=slot, ...)

    The memory is a tuple over the decoder's layers of keys and values [B, K, S, H]; the cache is that of a decoder alone.
    """

    causal = True
    kind = "encoder_decoder"

    def __init__(
        self, *, encoder: Backbone, decoder: Backbone, token: Embedding | None = None, start_id: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.encoder, self.decoder, self.token, self.start_id = encoder, decoder, token, start_id

    def build(self, input_shape: Any = None) -> None:
        if self.token is not None:
            with keras.name_scope("embeddings"):
                self.token.build()
        self.encoder.build()
        self.decoder.build()

    @property
    def hidden_size(self) -> int:
        return self.decoder.hidden_size

    @property
    def vocab_size(self) -> int:
        return self.decoder.vocab_size if self.token is None else self.token.size

    @property
    def token_embedding(self) -> Any:
        """The variable [V, E] that tied heads project with."""
        return self.decoder.token_embedding if self.token is None else self.token.embedding

    def encode(
        self,
        tokens: Any,
        *,
        segments: Any = None,
        positions: Any = None,
        token_types: Any = None,
        vectors: Any = None,
        row_key: Any = None,
        collect: Collect | None = None,
    ) -> Any:
        """The encoder's states [B, S, D] of tokens int[B, S]; keywords as those of a backbone."""
        given = {"segments": segments, "positions": positions, "token_types": token_types, "row_key": row_key, "collect": collect}
        return self.encoder(tokens, vectors=self._vectors(tokens, vectors), **given)

    def remember(self, states: Any) -> Memory:
        """What the decoder's layers read of the encoder's states, computed once for all steps."""
        return self.decoder.remember(states)

    def decode(self, tokens: Any, *, memory: Any, memory_segments: Any = None, vectors: Any = None, **keywords: Any) -> Any:
        """Hidden states [B, T, D] of the decoder's tokens int[B, T], or those and the new cache.

        `memory` is the encoder's states or what `remember` made of them, `memory_segments` int[B, S] the segments of the
        encoder's tokens. The other keywords are those of a backbone: `segments`, `positions`, `row_key`, `cache`,
        `cache_index`, `cache_segments`, `collect`.
        """
        across = {"memory": memory, "memory_segments": memory_segments}
        return self.decoder(tokens, vectors=self._vectors(tokens, vectors), **across, **keywords)

    def call(
        self,
        tokens: Any,
        *,
        decoder_tokens: Any = None,
        segments: Any = None,
        positions: Any = None,
        token_types: Any = None,
        decoder_segments: Any = None,
        decoder_positions: Any = None,
        row_key: Any = None,
        causal: bool | None = None,
        collect: Collect | None = None,
    ) -> Any:
        """tokens int[B, S] and decoder tokens int[B, T] -> the decoder's hidden states [B, T, D].

        Without decoder tokens, the decoder reads `start_id` and then the same tokens but the last, segment by segment. It is causal,
        whatever `causal` says, and its tokens see the encoder's tokens of their own segment. `collect` hears of both sides,
        below their names, of `encoder.states`, and of `balance`, the sum of both.
        """
        if decoder_tokens is None:
            decoder_tokens, decoder_segments, decoder_positions = self._behind_start(tokens, segments), segments, positions
        balances: list[Any] = []

        def hear(name: str, value: Any) -> None:
            if name.endswith(".balance"):
                balances.append(value)
            elif collect is not None:
                collect(name, value)

        listener = None if collect is None else hear
        given = {"segments": segments, "positions": positions, "token_types": token_types}
        states = self.encode(tokens, row_key=row_key, collect=under(listener, "encoder"), **given)
        hear("encoder.states", states)
        across = {"memory": states, "memory_segments": segments}
        own = {"segments": decoder_segments, "positions": decoder_positions}
        hidden = self.decode(decoder_tokens, row_key=row_key, collect=under(listener, "decoder"), **across, **own)
        if balances and collect is not None:
            collect("balance", sum(balances))
        return hidden

    def _behind_start(self, tokens: Any, segments: Any) -> Any:
        if self.start_id is None:
            raise ValueError("without start_id, a decoder must be given its tokens")
        before = ops.pad(ops.cast(tokens, "int32")[:, :-1], ((0, 0), (1, 0)), constant_values=self.start_id)
        if segments is None:
            return before
        begins = ops.not_equal(segments, ops.pad(segments[:, :-1], ((0, 0), (1, 0)), constant_values=-1))
        return ops.where(begins, self.start_id, before)

    def _vectors(self, tokens: Any, vectors: Any) -> Any:
        return vectors if self.token is None or vectors is not None else self.token(tokens)
