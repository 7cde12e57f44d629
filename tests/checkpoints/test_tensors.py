"""Numbers in the dtypes of models: rounded to the nearest, refused by name where they do not fit, and read when they are asked for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmkit.checkpoints import own
from lmkit.checkpoints.find import read_entries, read_model
from lmkit.checkpoints.header import NUMPY
from lmkit.checkpoints.tensors import COMPUTED, in_dtype, prevailing
from lmkit.errors import CheckpointError, NumericsError

BFLOAT16 = NUMPY["BF16"]


@given(st.floats(width=32, min_value=-(2.0**120), max_value=2.0**120))
def test_a_number_becomes_its_nearest_neighbour_in_bfloat16(number: float) -> None:
    exact = np.array(number, np.float32)
    rounded = in_dtype(exact, "bfloat16", "x")
    neighbours = (rounded.view(np.uint16) + np.array([-1, 1], np.int32)).astype(np.uint16).view(BFLOAT16).astype(np.float64)
    away = np.abs(neighbours[np.isfinite(neighbours)] - number)
    assert abs(float(rounded) - number) <= away.min()


def test_halves_are_rounded_to_even() -> None:
    halves = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20], np.float32)  # between two neighbours
    np.testing.assert_array_equal(in_dtype(halves, "bfloat16", "x").astype(np.float32), np.array([1, 1 + 2**-6, 1 + 2**-7], np.float32))


@pytest.mark.parametrize("narrow", ["bfloat16", "float16"])
def test_what_16_bits_hold_comes_back_from_float32(narrow: str) -> None:
    every = np.arange(2**16).astype(np.uint16).view(np.dtype(narrow))
    every = every[np.isfinite(every)]
    again = in_dtype(in_dtype(every, "float32", "x"), narrow, "x")
    np.testing.assert_array_equal(again.view(np.uint16), every.view(np.uint16))


@pytest.mark.parametrize(
    ("values", "dtype", "advice"),
    [
        (np.array([1.0, -7e4], np.float32), "float16", "choose bfloat16 or float32"),
        (np.array([1.0, 7e4], BFLOAT16), "float16", "choose bfloat16 or float32"),
        (np.array([1e300]), "bfloat16", "choose float32"),
    ],
)
def test_a_number_that_is_too_large_names_its_tensor(values: np.ndarray, dtype: str, advice: str) -> None:
    with pytest.raises(CheckpointError, match=f"^layers.0.up has values that {dtype} cannot hold; {advice}$"):
        in_dtype(values, dtype, "layers.0.up")


def test_the_dtype_of_most_numbers_prevails() -> None:
    assert prevailing([("bfloat16", (9, 9)), ("float32", (9, 8)), ("bfloat16", (0,))]) == "bfloat16"
    assert prevailing([("float64", (9, 9)), ("bfloat16", (9, 8))]) == "float32"
    assert prevailing([]) == "float32"


@pytest.mark.parametrize("dtype", COMPUTED)
def test_a_checkpoint_gives_its_tensors_in_the_dtype_they_were_saved_in(tmp_path: Path, dtype: str) -> None:
    values = np.linspace(-3, 3, 24).astype(dtype).reshape(4, 6)
    own.save(tmp_path / "checkpoints", 1, model={"x": values}, optimizer={}, state={}, facts={})
    found = read_model(tmp_path).model
    assert (found["x"].dtype, found["x"].tobytes()) == (values.dtype, values.tobytes())
    assert found["x"] is not found["x"]
    assert prevailing((entry.dtype, entry.shape) for entry in read_entries(tmp_path).values()) == dtype


def test_a_checkpoint_holds_no_bfloat16_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(NumericsError, match="x is not finite at step 1"):
        own.save(tmp_path, 1, model={"x": np.array([1, np.nan], BFLOAT16)}, optimizer={}, state={}, facts={})
