"""Position encodings against their formulas, and what each promises about distances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmkit.positions.alibi import alibi_bias, alibi_slopes
from lmkit.positions.disentangled import DisentangledPosition, steps_of
from lmkit.positions.learned import LearnedPosition, places
from lmkit.positions.relative import RelativePosition, bucket
from lmkit.positions.rotary import RotaryPosition, rotary_table, rotate
from lmkit.positions.scaling import base_frequencies, dynamic, llama3, longrope, yarn, yarn_attention_factor
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


def test_half_sinusoids_are_the_interleaved_ones_with_all_sines_first() -> None:
    at = np.array([[0, 3, 9]], np.int32)
    for width in (6, 7):
        neighbours, half = (np.asarray(sinusoids(at, width, 10000.0, layout)) for layout in ("interleaved", "half"))
        np.testing.assert_array_equal(half, np.concatenate([neighbours[..., 0::2], neighbours[..., 1::2]], axis=-1))


def test_learned_positions_stand_behind_their_offset_and_padding_reads_its_own_row() -> None:
    layer = LearnedPosition(5, 3, offset=2, padding_id=1, name="position")
    layer.build()
    layer.embedding.assign(np.arange(21, dtype=np.float32).reshape(7, 3))
    tokens = np.array([[1, 8, 9, 1, 8]], np.int32)
    assert np.asarray(places(tokens, 1)).tolist() == [[0, 0, 1, 1, 2]]
    assert (np.asarray(layer(places(tokens, 1), tokens))[0, :, 0] / 3).tolist() == [1, 2, 3, 1, 4]
    assert (np.asarray(layer(np.arange(5)[None]))[0, :, 0] / 3).tolist() == [2, 3, 4, 5, 6]


def written_out(distance: int, buckets: int, longest: int, bidirectional: bool) -> int:
    """The bucket of a distance, as the T5 paper's code has it."""
    first = 0
    if bidirectional:
        buckets //= 2
        first, distance = (buckets if distance > 0 else 0), abs(distance)
    else:
        distance = -min(distance, 0)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    return first + min(exact + int(np.log(distance / exact) / np.log(longest / exact) * (buckets - exact) + 1e-9), buckets - 1)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "longest"), [(32, 128), (8, 20), (16, 17)])
def test_buckets_are_exact_near_and_logarithmic_far(buckets: int, longest: int, bidirectional: bool) -> None:
    distance = np.arange(-3 * longest, 3 * longest, dtype=np.int32)
    found = np.asarray(bucket(distance, num_buckets=buckets, max_distance=longest, bidirectional=bidirectional))
    assert found.tolist() == [written_out(int(d), buckets, longest, bidirectional) for d in distance]
    assert found.min() == 0 and found.max() == buckets - 1


def test_a_table_of_buckets_gives_each_head_its_own_number() -> None:
    layer = RelativePosition(2, num_buckets=8, max_distance=16, name="relative")
    layer.build()
    layer.embedding.assign(np.arange(16, dtype=np.float32).reshape(8, 2))
    index = np.arange(4, dtype=np.int32)[None]
    bias = np.asarray(layer(index, index))
    assert bias.shape == (1, 2, 4, 4)
    np.testing.assert_array_equal(bias, np.asarray(layer(index + 50, index + 50)))
    np.testing.assert_array_equal(bias[0, 1], bias[0, 0] + 1)


def test_rows_of_distances_are_symmetric_around_the_middle_and_end_at_the_edges() -> None:
    steps = steps_of(64, 8)
    assert steps[:5].tolist() == [0, 1, 2, 3, 4] and np.all(np.diff(steps) >= 0) and steps[63] == 7 and steps[64] == 8
    layer = DisentangledPosition(4, max_distance=64, buckets=8, name="distance")
    layer.build()
    _, row = layer(np.array([[0, 500]], np.int32), np.array([[0, 3, 1000]], np.int32))
    assert np.asarray(row).tolist() == [[[8, 5, 0], [15, 15, 0]]]


FREQUENCIES = base_frequencies(32, 10000.0)


def test_llama3_keeps_short_waves_and_divides_long_ones() -> None:
    scaled = llama3(FREQUENCIES, factor=8.0, low=1.0, high=4.0, original=256)
    turns = 256 * FREQUENCIES / (2 * np.pi)
    np.testing.assert_allclose(scaled[turns > 4], FREQUENCIES[turns > 4])
    np.testing.assert_allclose(scaled[turns < 1], FREQUENCIES[turns < 1] / 8)
    assert np.all(np.diff(scaled) < 0)


def test_yarn_keeps_the_first_channels_and_divides_the_last() -> None:
    scaled = yarn(FREQUENCIES, base=10000.0, factor=4.0, original=256, fast=32.0, slow=1.0, truncate=True)
    ratio = scaled / FREQUENCIES
    assert ratio[0] == 1 and ratio[-1] == pytest.approx(1 / 4) and np.all(np.diff(ratio) <= 0)
    assert yarn_attention_factor(1.0) == 1 and yarn_attention_factor(np.e) == pytest.approx(1.1)
    assert yarn_attention_factor(40.0, 1.0, 1.0) == 1


def test_a_dynamic_base_grows_only_beyond_the_original_length() -> None:
    at = lambda length: np.asarray(dynamic(np.arange(length)[None], 32, base=10000.0, factor=2.0, original=16))  # noqa: E731
    np.testing.assert_allclose(at(9), FREQUENCIES, rtol=1e-5)
    np.testing.assert_allclose(at(16), FREQUENCIES, rtol=1e-5)
    grown = 10000.0 * (2.0 * 24 / 16 - 1) ** (32 / 30)
    np.testing.assert_allclose(at(24), base_frequencies(32, grown), rtol=1e-5)


def test_longrope_takes_its_long_factors_beyond_the_original_length() -> None:
    short, long = np.linspace(1, 2, 16), np.linspace(1, 9, 16)
    at = lambda length: np.asarray(longrope(np.arange(length)[None], FREQUENCIES, short=short, long=long, original=16))  # noqa: E731
    np.testing.assert_allclose(at(16), FREQUENCIES / short, rtol=1e-6)
    np.testing.assert_allclose(at(17), FREQUENCIES / long, rtol=1e-6)
