"""The generator beside ELECTRA's discriminator: a small masked language model that fills hidden places with what it thinks likely."""

from typing import Any

import numpy as np
from keras import ops

from lmkit.engine.tensorflow import fused
from lmkit.heads.cross_entropy import row_losses
from lmkit.heads.masked_language_model import MaskedLanguageModelHead, gather_rows
from lmkit.layers.dropout import counted, layer_id
from lmkit.layers.layer import Layer
from lmkit.layers.weights import canonical


def drawn(logits_BMV: Any, row_key: Any, number: Any) -> Any:
    """int32 [B, M]: of each place one of V classes with the probability that softmax gives it: argmax(logits - log(-log u)).

    u in (0, 1) is a hash of the row key, the `number` of who draws, and the element. No gradient passes.
    """
    return _draw(ops.stop_gradient(logits_BMV), ops.cast(row_key, "uint32"), ops.convert_to_tensor(number))


@fused
def _draw(logits_BMV: Any, row_key: Any, number: Any) -> Any:
    high = ops.cast(ops.right_shift(counted(ops.shape(logits_BMV), row_key, number), ops.cast(8, "uint32")), "int32")
    uniform = (ops.cast(high, "float32") + 0.5) * 2.0**-24
    return ops.cast(ops.argmax(ops.cast(logits_BMV, "float32") - ops.log(-ops.log(uniform)), axis=-1), "int32")


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
        chosen_ND = ops.reshape(gather_rows(hidden_BTD, where_BM), (-1, self.encoder.hidden_size))
        logits_NV = self.head.logits(chosen_ND, embedding)
        logits_BMV = ops.reshape(logits_NV, (*ops.shape(where_BM), logits_NV.shape[-1]))
        return row_losses(logits_NV, labels_BM, weights_BM) | {"drawn": drawn(logits_BMV, batch["row_key"], self.number)}
