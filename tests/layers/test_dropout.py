"""Dropout masks depend on the row key, the layer and the element, and on nothing else."""

import numpy as np
import pytest
from keras import ops

from lmkit import counting
from lmkit.data.order import row_keys
from lmkit.engine.tensorflow import compiled
from lmkit.layers.dropout import dropout, keep_mask, layer_id, mix

KEYS = np.array([5, 2**31 + 9, 4294967295], np.uint32)


def numpy_mask(shape: tuple[int, ...], rate: float, keys: np.ndarray, layer: int) -> np.ndarray:
    index = np.arange(int(np.prod(shape[1:])), dtype=np.uint32)
    return np.reshape(counting.mix(keys[:, None], layer, index[None]) >= round(rate * 2**32), shape)


def test_the_hash_is_the_one_that_orders_data() -> None:
    for words, expected in counting.TEST_VECTOR:
        assert int(mix(*words)) == expected
        assert int(mix(*(ops.convert_to_tensor(np.uint32(word)) for word in words))) == expected


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_masks_are_those_of_numpy_however_they_are_compiled(mode: str) -> None:
    shape = (3, 4, 17)
    run = (lambda f: f) if mode == "eager" else (lambda f: compiled(f, xla=mode == "xla"))
    mask = run(lambda keys: keep_mask(shape, 0.3, keys, layer_id("a.dropout")))(KEYS)
    np.testing.assert_array_equal(np.asarray(mask), numpy_mask(shape, 0.3, KEYS, layer_id("a.dropout")))


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_kept_is_scaled_in_every_mode(mode: str, dtype: str) -> None:
    run = (lambda f: f) if mode == "eager" else (lambda f: compiled(f, xla=mode == "xla"))
    out = run(lambda x, keys: dropout(x, 0.5, keys, 7))(ops.ones((3, 40), dtype), KEYS)
    expected = np.where(numpy_mask((3, 40), 0.5, KEYS, 7), 2.0, 0.0)
    np.testing.assert_array_equal(np.asarray(ops.cast(out, "float32")), expected)


def test_a_row_is_dropped_the_same_whatever_rows_are_beside_it() -> None:
    x = np.random.default_rng(0).normal(size=(3, 8, 5)).astype(np.float32)
    together = np.asarray(dropout(x, 0.2, KEYS, 3))
    alone = np.concatenate([np.asarray(dropout(x[i : i + 1], 0.2, KEYS[i : i + 1], 3)) for i in range(3)])
    np.testing.assert_array_equal(together, alone)


def test_the_share_and_the_mean_are_right() -> None:
    keys = row_keys(0, 0, 64)
    out = np.asarray(dropout(np.ones((64, 4096), np.float32), 0.1, keys, layer_id("x.dropout")))
    assert abs(np.mean(out == 0) - 0.1) < 4 * np.sqrt(0.09 / out.size)
    assert abs(out.mean() - 1) < 4 * np.sqrt(0.1 / 0.9 / out.size)


def test_layers_rows_and_elements_draw_independently() -> None:
    keys = row_keys(0, 0, 2)
    a, b = (np.asarray(keep_mask((2, 50000), 0.5, keys, layer_id(name))).astype(float) for name in ("a", "b"))
    bound = 5 / np.sqrt(50000)
    assert abs(np.corrcoef(a[0], b[0])[0, 1]) < bound
    assert abs(np.corrcoef(a[0], a[1])[0, 1]) < bound
    assert abs(np.corrcoef(a[0, 1:], a[0, :-1])[0, 1]) < bound


def test_inference_is_the_identity() -> None:
    x = ops.ones((2, 3))
    assert dropout(x, 0.5, None, 1) is x
    assert dropout(x, 0.0, KEYS[:2], 1) is x
