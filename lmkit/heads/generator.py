"""The generator beside ELECTRA's discriminator: a small masked language model that fills hidden places with what it thinks likely."""

from typing import Any

import numpy as np
from keras import ops

from lmkit.engine.tensorflow import fused
from lmkit.heads.cross_entropy import row_sums
from lmkit.heads.masked_language_model import MaskedLanguageModelHead, gather_rows
from lmkit.layers.dropout import layer_id, mix, scramble
from lmkit.layers.layer import Layer
from lmkit.layers.weights import canonical


def drawn(logits_NV: Any, key_N: Any, place_N: Any) -> Any:
    """int32 [N]: one of V classes with the probability that softmax gives it: argmax(logits - log(-log u)).

    u in (0, 1) is a hash of a row's uint32 key, of the place in it, and of the class. No gradient passes.
    """
    return _draw(ops.stop_gradient(logits_NV), key_N, place_N)


@fused
def _draw(logits_NV: Any, key_N: Any, place_N: Any) -> Any:
    classes = ops.shape(logits_NV)[1]
    element_NV = ops.expand_dims(place_N * classes, 1) + ops.expand_dims(ops.arange(classes, dtype="int32"), 0)
    hashed_NV = scramble(ops.bitwise_xor(ops.expand_dims(key_N, 1), ops.cast(element_NV, "uint32")))
    high = ops.cast(ops.right_shift(hashed_NV, ops.cast(8, "uint32")), "int32")
    uniform = (ops.cast(high, "float32") + 0.5) * 2.0**-24
    return ops.cast(ops.argmax(ops.cast(logits_NV, "float32") - ops.log(-ops.log(uniform)), axis=-1), "int32")


def placed(tokens_BT: Any, where_BM: Any, chosen_BM: Any, values_BM: Any) -> Any:
    """The tokens with `values` at those places of each row that are `chosen`, which are all different."""
    places = ops.arange(ops.shape(tokens_BT)[1], dtype="int32")
    here = ops.logical_and(ops.equal(ops.expand_dims(where_BM, -1), places), ops.expand_dims(chosen_BM, -1))
    values = ops.sum(ops.where(here, ops.expand_dims(values_BM, -1), 0), axis=1)
    return ops.where(ops.any(here, axis=1), values, tokens_BT)


class Generator(Layer):
    """`encoder` is a backbone without a table of tokens, `head` one that is tied to that of the body."""

    def __init__(self, encoder: Layer, head: MaskedLanguageModelHead, **options: Any) -> None:
        super().__init__(**{"name": "generator"} | options)
        self.encoder, self.head = encoder, head

    def build(self, input_shape: Any = None) -> None:
        self.encoder.build()
        self.head.build()
        self.number = np.uint32(layer_id(canonical(self) + ".draw"))

    def call(
        self, masked_BT: Any, where_BM: Any, labels_BM: Any, weights_BM: Any, *, batch: dict[str, Any], embedding: Any, row_key: Any = None
    ) -> dict[str, Any]:
        """`loss`, `weight` and `correct`, float32 [B], of what stands at the hidden places, and `drawn` int32 [B, M] for them.

        What is drawn depends on the batch's row keys, in training as elsewhere.
        """
        given = {name: batch.get(name) for name in ("segments", "positions", "token_types")}
        hidden_BTD = self.encoder(None, vectors=ops.take(embedding, masked_BT, axis=0), row_key=row_key, causal=False, **given)
        x_NE = self.head.transformed(ops.reshape(gather_rows(hidden_BTD, where_BM), (-1, self.encoder.hidden_size)))
        rows, places = ops.shape(where_BM)
        key_N = ops.repeat(mix(ops.cast(batch["row_key"], "uint32"), ops.convert_to_tensor(self.number)), places)
        place_N = ops.tile(ops.arange(places, dtype="int32"), (rows,))
        loss, correct, drawn_N = self.head.judged(x_NE, ops.reshape(labels_BM, (-1,)), embedding, choose=drawn, by=(key_N, place_N))
        return row_sums(weights_BM, loss=loss, correct=correct) | {"drawn": ops.reshape(drawn_N, (rows, places))}
