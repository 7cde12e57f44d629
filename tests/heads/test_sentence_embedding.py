"""Training of sentence vectors: torch's losses, whatever the split of the batch, and no answer from rows that are not there."""

from typing import Any

import numpy as np
import pytest

from lmkit.heads.sentence_embedding import SentenceEmbeddingHead

RANDOM = np.random.default_rng(3)
ROWS, LENGTH, WIDTH = 12, 7, 8


def batch(rows: int = ROWS) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Hidden states, and rows of two segments of any length with padding behind."""
    cuts = np.sort(RANDOM.integers(1, LENGTH, (rows, 2)), axis=1) + np.array([0, 1])
    place = np.arange(LENGTH)
    segments = 1 + (place >= cuts[:, :1]) - 2 * (place >= cuts[:, 1:])
    made = {"segments": segments.astype(np.int32), "it/weights": np.ones(rows, np.float32)}
    made["it/labels"] = RANDOM.uniform(0, 1, rows).astype(np.float32)
    return RANDOM.normal(size=(rows, LENGTH, WIDTH)).astype(np.float32), made


def means(hidden: np.ndarray, data: dict[str, np.ndarray], segment: int) -> Any:
    torch = pytest.importorskip("torch")
    return torch.tensor(np.stack([row[here == segment].mean(0) for row, here in zip(hidden, data["segments"], strict=True)]))


def results(head: SentenceEmbeddingHead, hidden: np.ndarray, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in head(hidden, batch=data).items()}


def by_torch(first: Any, second: Any, scale: float) -> Any:
    torch = pytest.importorskip("torch")
    cosines = torch.nn.functional.cosine_similarity(first[:, None], second[None], dim=-1) * scale
    return torch.nn.functional.cross_entropy(cosines, torch.arange(len(first)), reduction="none")


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_each_row_is_found_among_those_of_its_group_alone(symmetric: bool, normalize: bool) -> None:
    torch = pytest.importorskip("torch")
    hidden, data = batch()
    head = SentenceEmbeddingHead(negatives=4, temperature=0.05, symmetric=symmetric, normalize=normalize, name="it")
    first, second = (means(hidden, data, i) for i in (1, 2))
    expected = []
    for group in range(0, ROWS, 4):
        pair = first[group : group + 4], second[group : group + 4]
        there = by_torch(*pair, 20.0)
        expected.append((there + by_torch(*pair[::-1], 20.0)) / 2 if symmetric else there)
    np.testing.assert_allclose(results(head, hidden, data)["loss"], torch.cat(expected), rtol=2e-4, atol=1e-5)


def test_a_part_of_whole_groups_has_the_losses_that_it_has_in_the_whole_batch() -> None:
    hidden, data = batch()
    head = SentenceEmbeddingHead(negatives=4, symmetric=True, name="it")
    whole = results(head, hidden, data)
    part = results(head, hidden[4:8], {name: value[4:8] for name, value in data.items()})
    for name, value in part.items():
        np.testing.assert_allclose(value, whole[name][4:8], rtol=1e-5, atol=1e-6)


def test_rows_that_only_fill_the_batch_are_nobodys_answer() -> None:
    hidden, data = batch()
    data["it/weights"][9:] = 0
    head = SentenceEmbeddingHead(name="it")
    found = results(head, hidden, data)
    expected = by_torch(means(hidden, data, 1)[:9], means(hidden, data, 2)[:9], 20.0)
    np.testing.assert_allclose(found["loss"][:9], expected, rtol=2e-4, atol=1e-5)
    assert not found["loss"][9:].any()


def test_a_text_beside_itself_is_found() -> None:
    hidden, data = batch()
    data["segments"] = np.tile([1, 1, 1, 2, 2, 2, 0], (ROWS, 1)).astype(np.int32)
    hidden[:, 3:6] = hidden[:, :3]
    found = results(SentenceEmbeddingHead(name="it", loss="simcse"), hidden, data)
    assert found["correct"].all()
    np.testing.assert_allclose(found["predicted"], 1, atol=1e-5)


def test_the_cosine_loss_is_the_square_of_what_the_cosine_lacks() -> None:
    torch = pytest.importorskip("torch")
    hidden, data = batch()
    cosines = torch.nn.functional.cosine_similarity(means(hidden, data, 1), means(hidden, data, 2))
    found: dict[str, Any] = results(SentenceEmbeddingHead(name="it", loss="cosine"), hidden, data)
    np.testing.assert_allclose(found["predicted"], cosines, atol=1e-5)
    np.testing.assert_allclose(found["loss"], (cosines.numpy() - data["it/labels"]) ** 2, atol=1e-5)
