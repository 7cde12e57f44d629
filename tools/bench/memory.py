"""What saving memory saves, and costs: the peak of a process and the speed of its steps, each way beside the plain one.

    python -m tools.bench.memory                 # scores over 50,000 pieces in chunks
    python -m tools.bench.memory --what blocks   # blocks computed again in the backward pass

Every way has a process of its own; steps alternate between them, round by round.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

WAYS = {"scores": ("whole", "256", "1024"), "blocks": ("none", "blocks")}


def sizes_of(what: str) -> dict[str, int]:
    """The model and batch on which a way is tried."""
    if what == "scores":
        return {"vocab": 50_000, "rows": 16, "length": 256, "layers": 1, "width": 128, "heads": 2}
    return {"vocab": 1_000, "rows": 16, "length": 256, "layers": 12, "width": 128, "heads": 2}


def prepare(what: str, way: str) -> Any:
    """A step of causal language modelling with dropout, and its batch."""
    from lmkit.engine import devices
    from lmkit.engine import tensorflow as engine
    from lmkit.heads.model import Model
    from lmkit.layers.weights import canonical
    from lmkit.models.build import build_backbone
    from lmkit.models.initialize import initialize
    from lmkit.models.spec import Decoder
    from lmkit.tasks.build import build_head
    from lmkit.tasks.spec import CausalLm
    from lmkit.training.build import build_optimizer
    from lmkit.training.spec import Constant, Sgd
    from lmkit.training.step import Step

    devices.configure()
    size, random = sizes_of(what), np.random.default_rng(0)
    spec = Decoder(num_layers=size["layers"], hidden_size=size["width"], num_heads=size["heads"], dropout=0.1)
    body = build_backbone(spec, vocab_size=size["vocab"], max_length=size["length"], rematerialize=way == "blocks")
    model = Model(body, {"lm": build_head(CausalLm(), "lm", backbone=body, model_spec=spec)})
    model.score_in_chunks(int(way) if way.isdigit() else None)
    initialize(model, 0)
    replicas = engine.replicas("one_device")
    variables = {canonical(weight): weight for weight in model.weights}
    step = Step(model, build_optimizer(Sgd(learning_rate=Constant(peak=1e-3)), variables, replicas=replicas), replicas, weights={"lm": 1.0})
    shape = (size["rows"], size["length"])
    batch: dict[str, Any] = {
        "tokens": random.integers(0, size["vocab"], shape).astype(np.int32),
        "segments": np.ones(shape, np.int32),
        "positions": np.tile(np.arange(shape[1], dtype=np.int32), (shape[0], 1)),
        "row_key": np.arange(shape[0], dtype=np.uint32),
        "lm/labels": random.integers(0, size["vocab"], shape).astype(np.int32),
        "lm/weights": np.ones(shape, np.float32),
        "lm/denominator": np.float32(shape[0] * shape[1]),
    }
    return lambda s: float(step([batch], [1e-3], s).loss[0])


def peak() -> float:
    """Megabytes that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def worker(what: str, way: str) -> None:
    """Makes a step for each line of its input: its seconds, the loss, and megabytes beyond those before the first."""
    run, at = prepare(what, way), 0
    before = peak()
    for _ in sys.stdin:
        at, start = at + 1, time.process_time()
        loss = run(at)
        print(time.process_time() - start, loss, peak() - before, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.memory", description=__doc__)
    parser.add_argument("--what", choices=sorted(WAYS), default="scores")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.what, args.worker)
        return
    command = [sys.executable, "-m", "tools.bench.memory", "--what", args.what, "--worker"]
    processes = {way: subprocess.Popen([*command, way], stdin=-1, stdout=-1, text=True) for way in WAYS[args.what]}
    readings: dict[str, list[list[float]]] = {way: [] for way in processes}
    for _ in range(args.rounds + 1):
        for way, process in processes.items():
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            readings[way].append([float(word) for word in process.stdout.readline().split()])
    print(f"{'':10} {'peak MB':>9} {'ratio':>6} {'processor s':>12} {'ratio':>6} {'loss':>10}")
    base = readings[WAYS[args.what][0]]
    for way, rows in readings.items():
        processes[way].communicate()
        ratios = [one[0] / other[0] for one, other in zip(rows[1:], base[1:], strict=True)]
        seconds, memory = statistics.median(row[0] for row in rows[1:]), rows[-1][2]
        print(f"{way:10} {memory:9.0f} {memory / base[-1][2]:6.2f} {seconds:12.2f} {statistics.median(ratios):6.2f} {rows[0][1]:10.6f}")


if __name__ == "__main__":
    main()
