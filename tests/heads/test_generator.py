"""The generator beside ELECTRA's discriminator: fair draws by counting, judged tokens, and no way back through a draw."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from lmkit.engine.tensorflow import compiled, value_and_grad
from lmkit.heads.generator import drawn, placed
from lmkit.heads.model import Model
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import Encoder
from lmkit.tasks.build import build_head
from lmkit.tasks.count import scored_per_row
from lmkit.tasks.spec import Generator, MaskedLm, ReplacedToken

RANDOM = np.random.default_rng(5)
VOCAB, ROWS, LENGTH = 30, 4, 8
KEYS = np.arange(1, ROWS + 1, dtype=np.uint32)


def model() -> Model:
    spec = Encoder(num_layers=2, hidden_size=16, num_heads=2, dropout=0.1)
    backbone = build_backbone(spec, vocab_size=VOCAB, max_length=LENGTH)
    task = ReplacedToken(generator=Generator(hidden_size=0.5, num_layers=1), discriminator_weight=7.0)
    built = Model(backbone, {"it": build_head(task, "it", backbone=backbone, model_spec=spec, max_length=LENGTH)})
    initialize(built, 0)
    return built


def batch() -> dict[str, np.ndarray]:
    tokens = RANDOM.integers(0, VOCAB, (ROWS, LENGTH)).astype(np.int32)
    where = np.array([[1, 5, 3]] * ROWS, np.int32)
    masked = tokens.copy()
    np.put_along_axis(masked, where[:, :2], 0, axis=1)
    return {
        "tokens": tokens,
        "segments": np.ones((ROWS, LENGTH), np.int32),
        "positions": np.tile(np.arange(LENGTH, dtype=np.int32), (ROWS, 1)),
        "row_key": KEYS,
        "it/masked": masked,
        "it/where": where,
        "it/hidden": np.take_along_axis(tokens, where, axis=1),
        "it/shares": np.array([[4.0, 4.0, 0.0]] * ROWS, np.float32),
        "it/labels": np.zeros((ROWS, LENGTH), np.int32),
        "it/weights": np.ones((ROWS, LENGTH), np.float32),
    }


@pytest.mark.parametrize("xla", [False, True])
def test_draws_have_the_probabilities_of_softmax_and_follow_from_the_row_key(xla: bool) -> None:
    logits = np.tile(np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32)), (80_000, 1))
    keys, places = np.repeat(KEYS, 20_000), np.tile(np.arange(20_000, dtype=np.int32), 4)
    found = np.asarray(compiled(drawn, xla=xla)(logits, keys, places)).reshape(4, -1)
    shares = np.stack([(found == i).mean(axis=1) for i in range(4)], axis=1)
    np.testing.assert_allclose(shares, [[0.5, 0.3, 0.15, 0.05]] * 4, atol=0.015)
    alone = np.asarray(compiled(drawn, xla=xla)(logits[:9], keys[40_000:40_009], places[:9]))
    np.testing.assert_array_equal(alone, found[2, :9])
    assert (found[0] != found[1]).mean() > 0.5


def test_only_chosen_places_get_values() -> None:
    tokens = np.arange(8, dtype=np.int32).reshape(2, 4)
    where, chosen = np.array([[3, 0], [1, 0]], np.int32), np.array([[True, True], [True, False]])
    found = placed(tokens, where, chosen, np.array([[50, 0], [60, 70]], np.int32))
    np.testing.assert_array_equal(np.asarray(found), [[0, 1, 2, 50], [4, 60, 6, 7]])


def test_labels_are_what_the_generator_changed() -> None:
    built, data = model(), batch()
    head = built.heads["it"]
    made = head.prepared(data, embedding=built.backbone.token_embedding)
    tokens, labels = np.asarray(made["tokens"]), np.asarray(made["it/labels"])
    np.testing.assert_array_equal(labels, tokens != data["tokens"])
    assert 0 < labels.sum() <= 2 * ROWS
    assert not labels[:, [0, 2, 3, 4, 6, 7]].any()
    again = np.asarray(head.prepared(data | {"row_key": KEYS + 100}, embedding=built.backbone.token_embedding)["tokens"])
    assert (again != tokens).any()


def test_the_loss_is_that_of_both_as_torch_has_them() -> None:
    torch = pytest.importorskip("torch")
    built, data = model(), batch()
    head, out = built.heads["it"], built(data)["it"]
    made = head.prepared(data, embedding=built.backbone.token_embedding)
    logits = torch.tensor(np.asarray(head.logits(built.hidden(made))))
    labels = torch.tensor(np.asarray(made["it/labels"], np.float32))
    judged = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1)
    np.testing.assert_allclose(np.asarray(out["discriminator_loss"]), judged, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(out["loss"]), np.asarray(out["generator_loss"]) + 7 * judged.numpy(), rtol=1e-4)
    np.testing.assert_array_equal(np.asarray(out["replaced"]), labels.sum(1))


@pytest.mark.parametrize("xla", [False, True])
def test_a_generator_scores_and_draws_a_few_places_at_a_time_as_all_at_once(xla: bool) -> None:
    built, data = model(), batch()

    def run(**arrays: Any) -> Any:
        return value_and_grad(lambda: (ops.sum((out := built(arrays, row_key=KEYS)["it"])["loss"]), out), built.trainable_weights)

    wanted = keras.tree.flatten(compiled(lambda: run(**data), xla=xla)())
    built.score_in_chunks(5)
    assert built.heads["it"].generator.head.chunk == 5
    for one, other in zip(keras.tree.flatten(compiled(lambda: run(**data), xla=xla)()), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_scores_of_a_generator_count() -> None:
    with_one = ReplacedToken(generator=Generator(hidden_size=0.5, num_layers=1))
    assert scored_per_row(with_one, length=100) == scored_per_row(MaskedLm(), length=100) == 15
    assert scored_per_row(ReplacedToken(), length=100) == 0


def test_the_discriminator_teaches_the_generator_nothing_but_through_the_table_they_share() -> None:
    built, data = model(), batch()

    def gradients(part: str) -> dict[str, Any]:
        found = value_and_grad(lambda: (ops.sum(built(data, row_key=KEYS)["it"][part]), ()), built.trainable_weights)[2]
        return {canonical(weight): np.asarray(each) for weight, each in zip(built.trainable_weights, found, strict=True)}

    for part, taught in (("discriminator_loss", False), ("generator_loss", True)):
        for name, gradient in gradients(part).items():
            if name == "embeddings.token.embedding":
                assert gradient.any()
            else:
                assert not gradient.any() or name.startswith("heads.it.generator.") is taught, name
