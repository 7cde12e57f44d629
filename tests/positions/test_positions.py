"""Position encodings against their formulas, and what each promises about distances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmkit.positions.alibi import alibi_bias, alibi_slopes
from lmkit.positions.rotary import RotaryPosition, rotary_table, rotate
from lmkit.positions.scaling import base_frequencies
from lmkit.positions.sinusoidal import sinusoids

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("width", [6, 7])
def test_sinusoids_are_the_paper_s_formula(width: int) -> None:
    got = np.asarray(sinusoids(np.array([[0, 1, 5, 300]], np.int32), width, 10000.0))
    for t, position in enumerate([0, 1, 5, 300]):
        for channel in range(width):
            angle = position / 10000 ** (2 * (channel // 2) / width)
            assert got[0, t, channel] == pytest.approx(np.cos(angle) if channel % 2 else np.sin(angle), abs=2e-5)


def rotated(x: np.ndarray, positions: np.ndarray, size: int, layout: str) -> np.ndarray:
    return np.asarray(rotate(x, rotary_table(positions, base_frequencies(size, 10000.0)), layout))  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["half", "interleaved"])
@given(shift=st.integers(0, 500), distance=st.integers(-20, 20))
@settings(max_examples=20, deadline=None)
def test_rotating_both_by_the_same_shift_leaves_scores_unchanged(layout: str, shift: int, distance: int) -> None:
    q, k = RANDOM.normal(size=(2, 1, 1, 1, 8)).astype(np.float32)

    def score(at: int) -> float:
        return float(np.sum(rotated(q, np.array([[at + 20]]), 8, layout) * rotated(k, np.array([[at + 20 + distance]]), 8, layout)))

    assert score(shift) == pytest.approx(score(0), abs=1e-3)


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_a_rotation_keeps_lengths_and_turns_pairs_by_their_angle(layout: str) -> None:
    x = RANDOM.normal(size=(1, 3, 2, 8)).astype(np.float32)
    got = rotated(x, np.array([[0, 1, 7]]), 8, layout)
    np.testing.assert_allclose(np.sum(got**2, -1), np.sum(x**2, -1), rtol=1e-5)
    for t, position in enumerate([0, 1, 7]):
        for i in range(4):
            a, b = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, i + 4)
            turned = (x[0, t, :, a] + 1j * x[0, t, :, b]) * np.exp(1j * position * 10000 ** (-2 * i / 8))
            np.testing.assert_allclose(got[0, t, :, a], turned.real, atol=1e-5)
            np.testing.assert_allclose(got[0, t, :, b], turned.imag, atol=1e-5)


def test_a_fraction_turns_the_first_channels_and_passes_the_rest() -> None:
    x = RANDOM.normal(size=(1, 2, 1, 8)).astype(np.float32)
    table = RotaryPosition(8, fraction=0.5)(np.array([[3, 4]], np.int32))
    got = np.asarray(rotate(x, table))
    np.testing.assert_array_equal(got[..., 4:], x[..., 4:])
    assert np.all(got[..., :4] != x[..., :4])
    with pytest.raises(ValueError, match="odd"):
        RotaryPosition(6, fraction=0.5)


def test_far_positions_turn_exactly_in_float32_tables() -> None:
    cos, _ = rotary_table(np.array([[100000]], np.int32), base_frequencies(8, 10000.0))
    assert float(cos[0, 0, 1]) == pytest.approx(np.cos(100000 * 10000 ** (-2 / 8)), abs=1e-2)


def authors_slopes(n: int) -> list[float]:
    """The recursion of the ALiBi repository."""
    if n & (n - 1) == 0:
        start = 2 ** (-(2 ** -(np.log2(n) - 3)))
        return [start * start**i for i in range(n)]
    closest = 2 ** int(np.floor(np.log2(n)))
    return authors_slopes(closest) + authors_slopes(2 * closest)[0::2][: n - closest]


@pytest.mark.parametrize("heads", range(1, 33))
def test_slopes_are_the_authors_for_any_number_of_heads(heads: int) -> None:
    np.testing.assert_allclose(alibi_slopes(heads), authors_slopes(heads), rtol=1e-6)


def test_alibi_depends_on_the_distance_alone() -> None:
    index = np.arange(6, dtype=np.int32)[None]
    bias = np.asarray(alibi_bias(index, index, 3))
    np.testing.assert_allclose(bias, np.asarray(alibi_bias(index + 100, index + 100, 3)))
    for head, slope in enumerate(alibi_slopes(3)):
        np.testing.assert_allclose(bias[0, head], -slope * np.abs(np.subtract.outer(np.arange(6), np.arange(6))), rtol=1e-6)
