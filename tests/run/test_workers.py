"""Two real processes train one model through the plain command: equal to one process, stopped, killed and hung, and nothing is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
SPEC = str(ROOT / "model_configs" / "debug-decoder.yaml")
WHOLE = ("training.steps=120", "training.evaluate_every=25 steps")
LONG = ("training.steps=100k", "training.evaluate_every=100k steps", "training.save_every=100k steps")
CLOCK = {"tokens_per_second", "peak_share", "seconds"}


def ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return found


class Group:
    """The processes of one start of a run."""

    def __init__(self, run: Path, count: int, *more: str) -> None:
        self.run, hosts = run, [f"127.0.0.1:{port}" for port in ports(count)]
        self.all: list[subprocess.Popen[str]] = []
        for index in range(count):
            task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
            environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "TF_CONFIG": json.dumps(task)}
            words = ["train", SPEC, "--run-dir", str(run), "training.precision=float32", "logging.samples=[]", *more]
            command = [sys.executable, "-m", "lmkit.cli", *words]
            self.all.append(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, cwd=run.parent)
            )

    def until(self, points: int) -> None:
        """Waits for so many points of the curves."""
        while len(series(self.run)) < points and all(one.poll() is None for one in self.all):
            time.sleep(0.02)

    def ended(self, *indices: int, timeout: float = 300) -> tuple[list[int], list[str]]:
        """Exit codes and last words of these, or of all."""
        chosen = [self.all[i] for i in indices] or self.all
        said = [one.communicate(timeout=timeout)[1] for one in chosen]
        return [one.returncode for one in chosen], [(text.splitlines() or [""])[-1] for text in said]

    def kill(self) -> None:
        for one in self.all:
            one.kill()
            one.communicate()


def series(run: Path) -> list[dict]:
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def tensors(run: Path) -> dict[str, np.ndarray]:
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    return {name: value for file in sorted(newest.glob("*.safetensors")) for name, value in load_file(file).items()}


def train(run: Path, count: int, *more: str) -> None:
    assert Group(run, count, *more).ended()[0] == [0] * count


def near(one: Sequence[dict], other: Sequence[dict]) -> None:
    """The same losses, to the last digit or two of float32, as long as rounding has not grown."""
    one, other = ([line for line in lines if line["step"] <= 50] for lines in (one, other))
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert (a["step"], a["kind"], a.get("tokens")) == (b["step"], b["kind"], b.get("tokens"))
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def two(home: Path) -> Path:
    """Undisturbed, two processes."""
    train(home / "two", 2, *WHOLE)
    return home / "two"


def test_two_processes_equal_one_and_the_chief_alone_writes(two: Path, home: Path) -> None:
    train(home / "one", 1, *WHOLE)
    near(series(two), series(home / "one"))
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in (home / "one").iterdir())


def test_a_signal_to_one_process_stops_both_at_the_same_step_and_they_go_on_to_the_same_bits(two: Path, home: Path) -> None:
    run = home / "stopped"
    group = Group(run, 2, *WHOLE)
    group.until(4)
    group.all[1].send_signal(signal.SIGTERM)
    codes, words = group.ended()
    assert codes == [75, 75], words
    assert words[0] == words[1] and words[0].startswith("stopped after step ")
    assert (run / "checkpoints" / f"step-{int(words[0].split()[3]):08d}").is_dir()
    train(run, 2, *WHOLE)
    assert series(run) == series(two)
    whole, parted = tensors(two), tensors(run)
    assert whole.keys() == parted.keys() and all(np.array_equal(whole[name], parted[name]) for name in whole)


def test_the_number_of_processes_may_change_at_every_start(two: Path, home: Path) -> None:
    run, rate = home / "elastic", "training.optimizer.learning_rate=1e-3"
    for count, steps in ((2, 5), (1, 10), (2, 15)):
        train(run, count, f"training.steps={steps}", rate, "training.evaluate_every=5 steps")
    train(home / "constant", 1, "training.steps=15", rate, "training.evaluate_every=5 steps")
    near(series(run), series(home / "constant"))


@pytest.mark.parametrize("lost", [1, 0], ids=["a worker", "the chief"])
@pytest.mark.parametrize(("number", "seconds", "what"), [(signal.SIGKILL, 5, "has ended"), (signal.SIGSTOP, 20, "no longer answers")])
def test_the_loss_of_a_process_ends_the_other_in_seconds_with_a_line(
    home: Path, lost: int, number: signal.Signals, seconds: float, what: str
) -> None:
    group = Group(home / f"lost-{lost}-{number.name}", 2, *LONG)
    try:
        group.until(20)
        start = time.monotonic()
        group.all[lost].send_signal(number)
        codes, words = group.ended(1 - lost, timeout=60)
        taken = time.monotonic() - start
        assert codes == [75] and f"worker {lost} of 2 at 127.0.0.1:" in words[0] and what in words[0]
        assert taken < seconds
    finally:
        group.kill()
