"""A process that hangs says where and ends; one that is only slow, or waits for others, is left alone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lmkit.run.signals import StopRequest
from lmkit.run.watchdog import Patience, watched

ROOT = Path(__file__).parents[2]
HANGS = """
import sys, time
from pathlib import Path
from lmkit.run.signals import StopRequest
from lmkit.run.watchdog import watched
from lmkit.training.prefetch import Prefetch

def batch_that_never_comes(index):
    time.sleep(0 if index < 3 else 1000)
    return index

stop, report = StopRequest(), Path(sys.argv[1]) if sys.argv[1:] else None
with watched(stop, 0.5, report, lambda line: print(line, flush=True)) as patience:
    with Prefetch(batch_that_never_comes, 0, 10) as batches:
        while not stop():
            batches.take()
            patience.step()
"""


@pytest.mark.parametrize("name", ["hang.txt", ""])
def test_a_data_thread_that_sleeps_ends_the_process_and_is_named_in_a_file_or_else_on_standard_error(tmp_path: Path, name: str) -> None:
    report = [str(tmp_path / name)] if name else []
    ended = subprocess.run([sys.executable, "-c", HANGS, *report], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert ended.returncode == 75, ended.stderr
    assert (
        re.match(r"nothing has happened for (?!0 )[\d.]* seconds \(runtime\.hang_minutes\); ", ended.stdout)
        and (name or "lines above") in ended.stdout
    )
    stacks = (tmp_path / name).read_text() if name else ended.stderr
    assert "batch_that_never_comes" in stacks and "in take" in stacks and bool(ended.stderr) != bool(name)


def test_slow_steps_a_slow_beginning_and_three_times_the_longest_pause_are_no_hang() -> None:
    now = [0.0]
    patience = Patience(300, clock=lambda: now[0])

    def after(seconds: float) -> bool:
        now[0] += seconds
        return patience.lost() > 0

    assert not after(1700) and after(200)
    patience.step()
    assert not after(3 * 1900 - 1) and after(2)
    patience = Patience(300, clock=lambda: now[0])
    patience.step()
    assert not after(299) and after(2)
    patience.sign()
    for _ in range(20):
        assert not after(100)
        patience.sign()
    assert not after(900) and after(5)


def test_who_waits_for_others_is_watched_again_from_when_they_have_come() -> None:
    now, waits = [0.0], [True]
    patience = Patience(300, lambda: waits[0], lambda: now[0])
    patience.step()
    now[0] = 10_000
    assert not patience.lost()
    waits[0], now[0] = False, 10_299
    assert not patience.lost()
    now[0] = 10_301
    assert patience.lost() == 301, "and waiting was no pause, three times which would be none"


def test_never_means_never_and_afterwards_nobody_watches(tmp_path: Path) -> None:
    stop = StopRequest()
    before = stop.heard
    with watched(stop, None, tmp_path / "absent", lambda line: None):
        assert stop.heard is before and not stop()
    with watched(stop, 1000, tmp_path / "absent", lambda line: None) as patience:
        assert stop.heard == patience.sign
    assert stop.heard is before and not list(tmp_path.iterdir())
