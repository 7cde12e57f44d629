"""What a checkpoint costs a run with 110 million parameters: the same steps by `lmkit train` with and without saves among them, in turns.

    python -m tools.bench.saves --rounds 3

Seconds are those between two lines of metrics.jsonl as they come, from the fourth step to the last, with what the saving thread takes from
the steps. The share is that at the default interval, 1,000 steps or 10 minutes.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SPEC = Path(__file__).parents[2] / "model_configs" / "debug-decoder.yaml"
MODEL = ["model.num_layers=18", "model.hidden_size=768", "model.num_heads=12", "model.feed_forward={kind: dense, intermediate_size: 3072}"]
FIRST, STEPS, SAVES = 4, 30, 3  # the last save is behind the last step, in both
TRAINING = [
    f"training.steps={STEPS}",
    "training.batch_size=4",
    "training.evaluate_every=1000 steps",
    "data.max_length=128",
    "logging.every=1",
]
INTERVAL = 600.0, 1000  # seconds and steps


def seconds_of(folder: Path, every: int) -> float:
    """From the fourth step to the last of a new run."""
    words = [*MODEL, *TRAINING, f"training.save_every={every} steps", "--run-dir", str(folder)]
    process = subprocess.Popen([sys.executable, "-m", "lmkit.cli", "train", str(SPEC), *words], stdout=subprocess.DEVNULL)
    begun = ended = 0.0
    while not ended and process.poll() is None:
        at, now = _step(folder / "metrics.jsonl"), time.perf_counter()
        begun = begun or (now if at >= FIRST else 0.0)
        ended = now if at >= STEPS else 0.0
        time.sleep(0.02)
    if process.wait():
        raise SystemExit(f"the run ended with {process.returncode}")
    shutil.rmtree(folder)
    return ended - begun


def _step(path: Path) -> int:
    lines = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.saves", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        found = np.array([[seconds_of(Path(folder, "run"), every) for every in (STEPS // (SAVES + 1) + 1, 1000)] for _ in range(rounds)])
    saving, plain = np.median(found, axis=0)
    save = float(np.median(found[:, 0] - found[:, 1])) / SAVES
    step = float(plain) / (STEPS - FIRST)
    print(f"a step {step:.2f} s; {SAVES} saves: {saving:.1f} s beside {plain:.1f} s, {save:.2f} s a save")
    print(f"every 1,000 steps or 10 minutes: {save / min(INTERVAL[0], INTERVAL[1] * step):.2%} of the time")


if __name__ == "__main__":
    main()
