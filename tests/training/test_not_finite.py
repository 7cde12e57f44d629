"""The first layer whose output is not finite is named, however the step is compiled."""

from typing import Any

import numpy as np

from lmkit.engine import tensorflow as engine
from lmkit.heads.model import Model
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import Decoder
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import CausalLm
from lmkit.training.build import build_optimizer
from lmkit.training.not_finite import first_layer
from lmkit.training.spec import Constant, Sgd
from lmkit.training.step import Outcome, Step

ROWS, LENGTH, VOCABULARY = 4, 8, 23


def model() -> Model:
    words = Decoder(num_layers=2, hidden_size=16, num_heads=2, dropout=0.1)
    body = build_backbone(words, vocab_size=VOCABULARY, max_length=LENGTH, rematerialize=True)
    made = Model(body, {"lm": build_head(CausalLm(), "lm", backbone=body, model_spec=words)})
    initialize(made, 0)
    return made


def batch() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "tokens": rng.integers(0, VOCABULARY, (ROWS, LENGTH)).astype("int32"),
        "segments": np.ones((ROWS, LENGTH), "int32"),
        "positions": np.tile(np.arange(LENGTH, dtype="int32"), (ROWS, 1)),
        "row_key": rng.integers(0, 2**32, ROWS).astype("uint32"),
        "lm/labels": rng.integers(0, VOCABULARY, (ROWS, LENGTH)).astype("int32"),
        "lm/weights": np.ones((ROWS, LENGTH), "float32"),
        "lm/denominator": np.float32(ROWS * LENGTH),
    }


def test_the_layer_that_overflows_first_is_named_and_the_model_is_as_it_was() -> None:
    made = model()
    variables = {canonical(weight): weight for weight in made.weights}
    replicas = engine.replicas("one_device")
    optimizer = build_optimizer(Sgd(learning_rate=Constant(peak=0.1)), variables, replicas=replicas)
    step = Step(made, optimizer, replicas, weights={"lm": 1.0}, xla=True, micro_batches=2)
    start = step.tensors()
    assert first_layer(made, batch(), 2) is None
    for weight in ("layers.1.feed_forward.up.kernel", "layers.0.attention.value.kernel", "norm.scale"):
        name = f"decoder.{weight}"
        variables[name].assign(np.full(variables[name].shape, 3e38, "float32"))
        assert step([batch()], [0.1], 1).outcome.tolist() == [Outcome.NOT_FINITE]
        assert step.first_not_finite(batch()) == f"output of {name.rpartition('.')[0]}"
        step.restore(*start)
    assert step.compilations == 1 and all("call" not in vars(layer) for layer in made._flatten_layers())
