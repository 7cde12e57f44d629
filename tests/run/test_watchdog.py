"""A run that hangs says where and ends; one that is only slow is left alone."""

import subprocess
import sys
from pathlib import Path

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

stop = StopRequest()
with watched(stop, 0.5, Path(sys.argv[1]), lambda line: print(line, flush=True)) as patience:
    with Prefetch(batch_that_never_comes, 0, 10) as batches:
        while not stop():
            batches.take()
            patience.step()
"""


def test_a_data_thread_that_sleeps_ends_the_process_and_is_named(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS, str(tmp_path)], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert ended.returncode == 75, ended.stderr
    assert "nothing has happened for" in ended.stdout and "hang.txt" in ended.stdout and not ended.stderr
    stacks = (tmp_path / "hang.txt").read_text()
    assert "batch_that_never_comes" in stacks and "in take" in stacks


def test_slow_steps_a_slow_beginning_and_pauses_like_those_before_are_no_hang() -> None:
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
    assert not after(999) and after(2)


def test_never_means_never_and_afterwards_nobody_watches(tmp_path: Path) -> None:
    stop = StopRequest()
    with watched(stop, None, tmp_path, lambda line: None):
        assert not stop()
    before = stop.heard
    with watched(stop, 1e-9, tmp_path / "absent", lambda line: None) as patience:
        assert stop.heard == patience.sign
        patience.lost = lambda: 0.0
    assert stop.heard is before and not list(tmp_path.iterdir())
