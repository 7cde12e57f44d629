"""What other ways to compute the same step save and cost: the peak of a process and the time of a step, beside the plain way.

    python -m tools.bench.ways                   # scores over 50,000 pieces in chunks
    python -m tools.bench.ways --what blocks     # blocks computed again in the backward pass
    python -m tools.bench.ways --what replicas   # the same batch on one device and on two logical ones

Every way has a process of its own; steps alternate between them, round by round. Figures are medians of rounds, ratios of
the rounds' own ratios.
"""

import argparse
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

WAYS = {"scores": ("whole", "chunks of 256"), "blocks": ("kept", "computed again"), "replicas": ("one", "two")}


def sizes_of(what: str) -> dict[str, int]:
    """The model and batch on which a way is tried."""
    if what == "scores":
        return {"vocab": 50_000, "rows": 16, "length": 256, "layers": 1, "width": 128, "heads": 2}
    return {"vocab": 1_000, "rows": 16, "length": 256, "layers": 12 if what == "blocks" else 4, "width": 128, "heads": 2}


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
    from lmkit.training.spec import AdamW, Constant
    from lmkit.training.step import Step

    devices.configure(replicas=2 if way == "two" else None, deterministic=True)
    replicas = engine.replicas("mirrored" if way == "two" else "one_device", 2 if way == "two" else None)
    size, random = sizes_of(what), np.random.default_rng(0)
    spec = Decoder(num_layers=size["layers"], hidden_size=size["width"], num_heads=size["heads"], dropout=0.1)
    with replicas.scope():
        body = build_backbone(spec, vocab_size=size["vocab"], max_length=size["length"], rematerialize=way == "computed again")
        model = Model(body, {"lm": build_head(CausalLm(), "lm", backbone=body, model_spec=spec)})
        initialize(model, 0)
    model.score_in_chunks(256 if way.startswith("chunks") else None)
    words, variables = AdamW(learning_rate=Constant(peak=1e-3)), {canonical(weight): weight for weight in model.weights}
    step = Step(model, build_optimizer(words, variables, replicas=replicas), replicas, weights={"lm": 1.0}, clip_norm=1.0)
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
    """Makes a step for each line of its input: its seconds, on the clock and of processors, its loss, and megabytes beyond those before."""
    run, before = prepare(what, way), peak()
    for at, _ in enumerate(sys.stdin, 1):
        clock, processor = time.perf_counter(), time.process_time()
        loss = run(at)
        print(time.perf_counter() - clock, time.process_time() - processor, loss, peak() - before, flush=True)


def measure(what: str, rounds: int) -> dict[str, np.ndarray]:
    """Of each way what its worker says, [rounds, 4]; steps before the first round compile."""
    command = [sys.executable, "-m", "tools.bench.ways", "--what", what, "--worker"]
    workers = {way: subprocess.Popen([*command, way], stdin=-1, stdout=-1, text=True) for way in WAYS[what]}
    readings: dict[str, list[list[float]]] = {way: [] for way in workers}
    for _ in range(rounds + 1):
        for way, process in workers.items():
            assert process.stdin is not None and process.stdout is not None
            print(file=process.stdin, flush=True)
            readings[way].append([float(word) for word in process.stdout.readline().split()])
    for process in workers.values():
        process.communicate()
    return {way: np.array(rows[1:]) for way, rows in readings.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.ways", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--what", choices=sorted(WAYS), default="scores")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.what, args.worker)
        return
    found = measure(args.what, args.rounds)
    plain = found[WAYS[args.what][0]]
    print(f"{'':16} {'seconds':>8} {'ratio':>6} {'processor s':>12} {'ratio':>6} {'peak MB':>9} {'ratio':>6} {'last loss':>10}")
    for way, rows in found.items():
        (clock, processor, _, _), (clocks, processors, _, peaks) = np.median(rows, axis=0), np.median(rows / plain, axis=0)
        print(
            f"{way:16} {clock:8.2f} {clocks:6.2f} {processor:12.2f} {processors:6.2f} {rows[-1, 3]:9.0f} {peaks:6.2f} {rows[-1, 2]:10.6f}"
        )


if __name__ == "__main__":
    main()
