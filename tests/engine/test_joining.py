"""A process that TensorFlow keeps waiting for another one: it still hears signals, misses the other and looks at the clock."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lmkit.engine.peers import free_ports

ROOT = Path(__file__).parents[2]
# Comes to both meetings, before TensorFlow and after, answers afterwards too, and never joins.
ABSENT = """
import sys, time
from lmkit.engine.cluster import Cluster
from lmkit.engine.peers import listening, require_all
cluster = Cluster(tuple(sys.argv[2:]), int(sys.argv[1]), "TF_CONFIG")
require_all(cluster, seconds=120, stop=lambda: False)
time.sleep(1)
require_all(cluster, seconds=120, stop=lambda: False)
with listening(cluster):
    print("met", flush=True)
    time.sleep(600)
"""


@contextmanager
def waiting(absent: int, run: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], subprocess.Popen[str]]]:
    """`lmkit train` in the moment of joining, and the process that it waits for."""
    hosts = [f"127.0.0.1:{port}" for port in free_ports(2)]
    task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 1 - absent}}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CONFIG": json.dumps(task)}
    spec = str(ROOT / "model_configs" / "debug-decoder.yaml")
    train = [sys.executable, "-m", "lmkit.cli", "train", spec, "--run-dir", str(run), *words]
    commands = [train, [sys.executable, "-c", ABSENT, str(absent), *hosts]]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=run.parent)
        for command in commands
    ]
    try:
        assert both[1].stdout is not None and both[1].stdout.readline() == "met\n"
        yield both[0], both[1]
    finally:
        for one in both:
            one.kill()
            one.communicate()


def last_line(process: subprocess.Popen[str], within: float) -> str:
    """The only line beside the first, of a process that ends with 75 in time."""
    began = time.monotonic()
    said = process.communicate(timeout=120)[1].splitlines()
    assert process.returncode == 75 and time.monotonic() - began < within and len(said) == 2, (process.returncode, said)
    return said[1]


@pytest.mark.parametrize(
    ("absent", "number", "words", "within"),
    [(0, signal.SIGKILL, "has ended", 6), (1, signal.SIGKILL, "has ended", 6), (1, signal.SIGSTOP, "no longer answers", 20)],
)
def test_one_that_is_killed_or_hangs_is_named(absent: int, number: signal.Signals, words: str, within: float, tmp_path: Path) -> None:
    with waiting(absent, tmp_path / "run") as (process, other):
        time.sleep(1)
        other.send_signal(number)
        line = last_line(process, within)
    assert f"worker {absent} of 2 at 127.0.0.1:" in line and words in line and line.endswith("start all processes again")


def ask(process: subprocess.Popen[str]) -> None:
    time.sleep(1)
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("act", "words", "line"),
    [
        (ask, [], "stopped while joining the other processes; nothing is lost"),
        (lambda process: None, ["runtime.wait_minutes=0.2"], "not all processes were joined in 0.2 minutes; start all of them again"),
    ],
)
def test_a_signal_and_the_clock_end_it(act: Callable[[subprocess.Popen[str]], None], words: list[str], line: str, tmp_path: Path) -> None:
    with waiting(1, tmp_path / "run", *words) as (process, _):
        act(process)
        assert last_line(process, 20) == line
