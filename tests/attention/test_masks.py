"""A mask's description against a loop over every pair."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lmkit.attention.masks import Mask


def visible(q: int, k: int, *, causal: bool, window: int | None, prefix: int, q_segment: int, k_segment: int) -> bool:
    past = not causal or k <= q or k < prefix
    near = window is None or (q - k < window if causal else abs(q - k) <= window)
    return past and near and q_segment == k_segment and q_segment != 0


@given(
    segments=st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=2, max_size=2),
    causal=st.booleans(),
    window=st.none() | st.integers(1, 8),
    prefix=st.none() | st.integers(0, 7),
    start=st.integers(0, 4),
)
@settings(max_examples=60, deadline=None)
def test_the_dense_mask_is_the_sentence_that_describes_it(
    segments: list[list[int]], causal: bool, window: int | None, prefix: int | None, start: int
) -> None:
    keys = np.array(segments, np.int32)
    query_index = np.arange(start, start + 3, dtype=np.int32)[None]
    queries = keys[:, start : start + 3]
    prefixes = None if prefix is None else np.array([prefix, 0], np.int32)
    mask = Mask(query_index, np.arange(7, dtype=np.int32)[None], queries, keys, causal, window, prefixes)
    dense = np.asarray(mask.dense())
    assert dense.shape == (2, 1, 3, 7)
    for b in range(2):
        for t in range(3):
            for s in range(7):
                expected = visible(
                    start + t,
                    s,
                    causal=causal,
                    window=window,
                    prefix=0 if prefixes is None else int(prefixes[b]),
                    q_segment=int(queries[b, t]),
                    k_segment=int(keys[b, s]),
                )
                assert dense[b, 0, t, s] == expected


def test_without_segments_one_row_serves_the_whole_batch() -> None:
    index = np.arange(5, dtype=np.int32)[None]
    additive, seeing = Mask(index, index, causal=True).additive()
    assert additive.shape == (1, 1, 5, 5)
    assert seeing is None
    assert Mask(index, index).additive() == (None, None)


def test_a_materialized_mask_says_the_same() -> None:
    index = np.arange(5, dtype=np.int32)[None]
    mask = Mask(index, index, causal=True, window=2, bias=np.full((1, 2, 5, 5), 0.5, np.float32))
    once = mask.materialized()
    np.testing.assert_array_equal(np.asarray(once.additive()[0]), np.asarray(mask.additive()[0]))
    assert once.additive()[0] is once.materialized().additive()[0]


def test_places_count_no_padding_and_are_the_slots_without_segments() -> None:
    index = np.arange(6, dtype=np.int32)[None]
    assert Mask(index, index).places() == (index, index)
    segments = np.array([[0, 0, 1, 1, 0, 1], [1, 1, 2, 2, 2, 0]], np.int32)
    queries, keys = (np.asarray(x) for x in Mask(index[:, 3:], index, segments[:, 3:], segments).places())
    assert keys[:, 2:].tolist() == [[0, 1, 1, 2], [2, 3, 4, 4]]
    assert queries.tolist() == keys[:, 3:].tolist()
