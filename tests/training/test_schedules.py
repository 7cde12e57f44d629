"""Learning-rate schedules: where they start, peak and end, and that they only ever go the way they should."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmkit.spec import Amount
from lmkit.training.schedules import learning_rate, steps_of
from lmkit.training.spec import Constant, Cosine, InverseSqrt, Linear, WarmupStableDecay

KINDS = (Constant, Linear, Cosine, InverseSqrt, WarmupStableDecay)


def steps(value):
    return Amount(value=value, unit="steps")


@st.composite
def schedules(draw):
    kind = draw(st.sampled_from(KINDS))
    total = draw(st.integers(2, 200))
    warmup = draw(st.integers(0, total - 1))
    floor = {} if kind in (Constant, InverseSqrt) else {"floor": draw(st.floats(0, 1))}
    return kind(peak=draw(st.floats(1e-6, 10)), warmup=steps(warmup), **floor), warmup, total


@given(schedules())
def test_rates_rise_to_the_peak_and_never_again(case):
    schedule, warmup, total = case
    rates = [learning_rate(schedule, step, total) for step in range(1, total + 1)]
    assert all(0 <= rate <= schedule.peak * (1 + 1e-12) for rate in rates)
    assert all(a < b for a, b in pairwise(rates[:warmup]))
    assert all(a >= b * (1 - 1e-12) for a, b in pairwise(rates[warmup:]))
    if warmup:
        assert rates[warmup - 1] == schedule.peak
        assert rates[0] == pytest.approx(schedule.peak / warmup)


@pytest.mark.parametrize("kind", [Linear, Cosine, WarmupStableDecay])
@given(floor=st.floats(0, 1), total=st.integers(20, 500))
def test_the_last_step_is_at_the_floor(kind, floor, total):
    assert learning_rate(kind(peak=2.0, floor=floor), total, total) == pytest.approx(2.0 * floor, abs=1e-12)


def test_half_way_linear_and_cosine_are_half_way_down():
    for kind in (Linear, Cosine):
        assert learning_rate(kind(peak=1.0, floor=0.2, warmup=steps(10)), 60, 110) == pytest.approx(0.6)


def test_inverse_sqrt_halves_when_steps_quadruple():
    schedule = InverseSqrt(peak=1.0, warmup=steps(100))
    assert learning_rate(schedule, 400, 10**6) == pytest.approx(0.5)


def test_warmup_stable_decay_stays_at_the_peak_until_the_decay():
    schedule = WarmupStableDecay(peak=1.0, warmup=steps(10), decay=Amount(value=0.2, unit="fraction"))
    assert [learning_rate(schedule, step, 100) for step in (10, 50, 80)] == [1.0] * 3
    assert learning_rate(schedule, 90, 100) == pytest.approx(0.5)


def test_a_share_of_the_run_counts_in_whole_steps():
    assert steps_of(Amount(value=0.06, unit="fraction"), 50_000) == 3000
    assert steps_of(steps(7), 50_000) == 7
