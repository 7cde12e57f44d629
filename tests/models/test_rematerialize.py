"""Blocks that are computed again in the backward pass: the same gradients, dropout and all, for every kind of body."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from lmkit.engine.tensorflow import compiled, value_and_grad
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import Body, Decoder, Encoder, EncoderDecoder

ROWS, LENGTH, VOCABULARY = 3, 8, 19
SIZES: dict[str, Any] = {"num_layers": 2, "hidden_size": 16, "num_heads": 2, "dropout": 0.3}


@pytest.mark.parametrize("spec", [Encoder(**SIZES), Decoder(**SIZES), EncoderDecoder(**SIZES)], ids=lambda spec: spec.kind)
def test_computing_blocks_again_changes_no_gradient_with_dropout_on(spec: Body) -> None:
    random, found = np.random.default_rng(0), []
    tokens, toward = random.integers(0, VOCABULARY, (ROWS, LENGTH)).astype(np.int32), random.normal(size=(ROWS, LENGTH, 16)).astype("f4")
    decoder = {"decoder_tokens": tokens[:, ::-1].copy()} if isinstance(spec, EncoderDecoder) else {}
    for rematerialize in (False, True):
        body: Any = build_backbone(spec, vocab_size=VOCABULARY, max_length=LENGTH, rematerialize=rematerialize)
        if not body.built:
            body.build()
        initialize(body, 0)

        def run(row_key: Any, body: Any = body) -> Any:
            return value_and_grad(lambda: (ops.sum(body(tokens, row_key=row_key, **decoder) * toward), ()), body.trainable_weights)[::2]

        step = compiled(run)
        loss, gradients = step(np.arange(ROWS, dtype=np.uint32))
        assert float(step(np.arange(ROWS, dtype=np.uint32) + 7)[0]) != float(loss), "dropout is on"
        found.append((float(loss), dict(zip(map(canonical, body.trainable_weights), map(np.asarray, gradients), strict=True))))
    (loss, gradients), (again, regradients) = found
    assert again == pytest.approx(loss, rel=1e-7)
    largest = max(np.abs(gradient).max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        np.testing.assert_allclose(regradients[name], gradient, rtol=1e-6, atol=1e-7 * largest, err_msg=name)
