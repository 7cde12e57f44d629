"""Several processes that train one run on this machine, and what they leave; for tests and tools/faults/workers.py."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from lmkit.engine.peers import free_ports

ROOT = Path(__file__).parents[2]
CLOCK = {"tokens_per_second", "peak_share", "seconds"}


class Group:
    """The processes of one start of a run: `lmkit train` with TF_CONFIG."""

    def __init__(self, run: Path, count: int, spec: str, *more: str) -> None:
        self.run, hosts = run, [f"127.0.0.1:{port}" for port in free_ports(count)]
        self.all: list[subprocess.Popen[str]] = []
        for index in range(count):
            task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
            environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "TF_CONFIG": json.dumps(task)}
            command = [sys.executable, "-m", "lmkit.cli", "train", spec, "--run-dir", str(run), *more]
            self.all.append(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, cwd=run.parent)
            )

    def until(self, step: int) -> None:
        """Waits until the curves have come to a step."""
        while last_step(self.run) < step and all(one.poll() is None for one in self.all):
            time.sleep(0.01)

    def ended(self, *indices: int, timeout: float = 600) -> tuple[list[int], list[str]]:
        """Exit codes and last words of these, or of all."""
        chosen = [self.all[i] for i in indices] or self.all
        said = [one.communicate(timeout=timeout)[1] for one in chosen]
        return [one.returncode for one in chosen], [(text.splitlines() or [""])[-1] for text in said]

    def without(self, lost: int, number: signal.Signals) -> tuple[int, str, float]:
        """Kills or stops one of two; gives the other's exit code, last words, and how many seconds it lived on."""
        try:
            start = time.monotonic()
            self.all[lost].send_signal(number)
            codes, words = self.ended(1 - lost, timeout=120)
            return codes[0], words[0], time.monotonic() - start
        finally:
            self.kill()

    def kill(self) -> None:
        for one in self.all:
            one.kill()
            one.communicate()


def series(run: Path) -> list[dict[str, Any]]:
    """The points of the curves, without what depends on the clock."""
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def last_step(run: Path) -> int:
    path = run / "metrics.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return int(json.loads(whole.splitlines()[-1])["step"]) if whole else 0


def tensors(run: Path) -> dict[str, np.ndarray]:
    """Weights and slots of the newest checkpoint."""
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    return {name: value for file in sorted(newest.glob("*.safetensors")) for name, value in load_file(file).items()}


def same_bits(one: Path, other: Path) -> bool:
    """Whether two runs have the same weights, slots and curves."""
    a, b = tensors(one), tensors(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a) and series(one) == series(other)


def ledger(run: Path) -> list[tuple[int, str, Any]]:
    """Every point of the curves, and how many tokens had been read by then: what rows a run has read, none twice."""
    return [(line["step"], line["kind"], line.get("tokens")) for line in series(run)]


def apart(one: Path, other: Path, steps: int) -> float:
    """The largest relative difference of the losses of the first steps."""
    pairs = zip(series(one), series(other), strict=True)
    return max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in pairs if a["step"] <= steps)
