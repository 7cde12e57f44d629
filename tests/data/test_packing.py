"""Rows of pieces: every token once, nothing too long, and the same number of rows in every epoch."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmkit.data.buckets import deal, plan_buckets
from lmkit.data.packing import cut, pack, packed_rows, single_rows
from lmkit.data.rows import Rows, join_rows

LENGTHS = st.lists(st.integers(0, 90), min_size=1, max_size=40).map(lambda x: np.array(x, np.int64))
MAKERS = [packed_rows, single_rows]


def covered(rows: Rows, lengths: np.ndarray) -> list[np.ndarray]:
    """How often each token of each document occurs."""
    counts = [np.zeros(n, int) for n in lengths]
    for document, start, length in zip(rows.document, rows.start, rows.length, strict=True):
        assert start >= 0 and start + length <= lengths[document]
        counts[document][start : start + length] += 1
    return counts


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, width=st.integers(5, 40), extra=st.sampled_from([0, 2]), epoch=st.none() | st.integers(0, 5))
def test_every_token_is_in_exactly_one_piece_and_rows_hold_what_they_can(
    make: Callable[..., Rows], lengths: np.ndarray, width: int, extra: int, epoch: int | None
) -> None:
    rows = make(lengths, width, extra, None if epoch is None else (3, epoch))
    assert all((counts == 1).all() for counts in covered(rows, lengths))
    assert (rows.length > 0).all()
    assert ((rows.tokens() + extra * rows.pieces) <= width).all()


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=40, deadline=None)
@given(lengths=LENGTHS, width=st.integers(5, 40), extra=st.sampled_from([0, 2]))
def test_all_epochs_have_as_many_rows(make: Callable[..., Rows], lengths: np.ndarray, width: int, extra: int) -> None:
    assert len({len(make(lengths, width, extra, (3, epoch))) for epoch in range(6)}) == 1


@pytest.mark.parametrize("make", MAKERS)
def test_epochs_cut_long_documents_at_different_places(make: Callable[..., Rows]) -> None:
    cuts = [frozenset((make(np.array([1000]), 64, 0, (0, epoch)).start % 64).tolist()) for epoch in range(20)]
    assert len(set(cuts)) > 5


def test_documents_that_fit_into_a_row_are_never_cut() -> None:
    lengths = np.arange(1, 65)
    rows = packed_rows(lengths, 64, 0, (0, 1))
    assert sorted(rows.length.tolist()) == lengths.tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_packing_is_as_good_as_best_fit_decreasing(lengths: list[int]) -> None:
    free: list[int] = []
    for n in sorted(lengths, reverse=True):
        best = min((space for space in free if space >= n), default=None)
        if best is None:
            free.append(32 - n)
        else:
            free[free.index(best)] -= n
    row = pack(np.array(lengths), 32, 0)
    assert row.max() + 1 == len(free)
    assert (np.bincount(row, weights=lengths) <= 32).all()


def test_a_million_documents_pack_in_seconds_and_nearly_full() -> None:
    lengths = np.random.default_rng(0).geometric(1 / 60, 1_000_000)
    start = time.process_time()
    rows = packed_rows(lengths, 512, 2, (0, 0))
    assert time.process_time() - start < 5
    assert (lengths + 2).sum() / (len(rows) * 512) > 0.99


def test_evaluation_windows_start_at_the_documents_start() -> None:
    document, start, length = cut(np.array([130, 0, 20]), 64)
    assert list(zip(document, start, length, strict=True)) == [(0, 0, 64), (0, 64, 64), (0, 128, 2), (2, 0, 20)]


def test_joining_and_taking_rows_keeps_their_pieces() -> None:
    a, b = packed_rows(np.array([5, 9, 30]), 16, 0, None), single_rows(np.array([20, 3]), 8, 0, None)
    both = join_rows([a, b])
    index = np.arange(len(both))[::-1]
    taken = both.take(index)
    for place, row in enumerate(index):
        here, there = (slice(*rows.offsets[i : i + 2]) for rows, i in ((taken, place), (both, row)))
        assert taken.start[here].tolist() == both.start[there].tolist()
        assert taken.length[here].tolist() == both.length[there].tolist()


@settings(max_examples=40, deadline=None)
@given(widths=st.lists(st.integers(1, 60), min_size=1, max_size=50).map(np.array), count=st.integers(1, 3))
def test_buckets_cover_every_width_nearly_as_tightly_as_the_best_choice(widths: np.ndarray, count: int) -> None:
    from itertools import combinations

    def cells(buckets: tuple[int, ...]) -> int:
        return int(np.array(buckets)[np.searchsorted(buckets, widths)].sum())

    chosen = plan_buckets(widths, 60, count)
    assert chosen[-1] == 60 and len(chosen) <= count and all(b % 8 == 0 for b in chosen[:-1])
    best = min(cells((*others, 60)) for k in range(count) for others in combinations(range(8, 60, 8), k))
    assert cells(chosen) <= 1.01 * best


@settings(max_examples=40, deadline=None)
@given(widths=st.lists(st.integers(1, 60), min_size=1, max_size=80).map(np.array), batch=st.integers(1, 9))
def test_dealing_gives_every_row_a_batch_long_enough_and_no_nearly_empty_one(widths: np.ndarray, batch: int) -> None:
    order, edges, lengths = deal(widths, (8, 24, 60), batch)
    sizes = np.diff(edges)
    assert np.array_equal(np.sort(order), np.arange(len(widths)))
    assert len(sizes) == -(-len(widths) // batch)
    assert sizes.max() <= batch and sizes.max() - sizes.min() <= 1
    assert (np.repeat(lengths, sizes) >= widths[order]).all()
