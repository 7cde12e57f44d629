"""Side-by-side throughput: every side in its own process, measured in turns, with a matrix-product probe beside each turn.

    python -m tools.bench --workload causal_lm --rounds 5 --seconds 5

Machines change speed while one measures, so ratios are taken within a round and their median is printed. On a machine that
others use too, processor time says more than the clock; but threads that wait in a loop (OpenMP's) count as work in it.
"""

import argparse
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from tools.bench.probe import GFLOP
from tools.bench.worker import SIDES
from tools.bench.workloads import WORKLOADS, Workload

BEST = {
    "transformers": ("compile_float32", "compile_bfloat16"),
    "keras-hub": ("xla_float32", "graph_bfloat16"),
}
WRITING = {"transformers": ("eager_float32", "compile_float32"), "keras-hub": ("xla_float32",)}  # of generation


class Side:
    """One competitor, warm and waiting."""

    def __init__(self, side: str, configuration: str, workload: str) -> None:
        self.name = f"{side} {configuration}"
        environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.log = Path(os.environ.get("TMPDIR", "/tmp")) / f"bench-{os.getpid()}-{side}-{configuration}.log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.bench.worker", side, configuration, workload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
            env=environment,
        )

    def run(self, count: int) -> tuple[float, float]:
        """Wall and processor seconds for `count` steps; raises RuntimeError with the end of its log when the side is dead."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(f"{count}\n")
            self.process.stdin.flush()
            wall, processor = json.loads(self.process.stdout.readline())
            return wall, processor
        except (BrokenPipeError, json.JSONDecodeError):
            code = self.process.wait()
            raise RuntimeError(f"{self.name} died ({code}; -9 is often a lack of memory) {self.log.read_text()[-800:]}") from None

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it may be dead already
            if self.process.stdin:
                self.process.stdin.close()
        self.process.wait()
        self.log.unlink(missing_ok=True)


def start(names: list[tuple[str, str]], workload: str, warmup: int) -> list[tuple[Side, float]]:
    """Starts the sides one after the other and runs `warmup` steps twice; returns each with its seconds a step."""
    started = []
    for side, configuration in names:
        one = Side(side, configuration, workload)
        try:
            first, _ = one.run(warmup)
            started.append((one, one.run(warmup)[0] / warmup))
            print(f"{one.name:32} ready (first {warmup} steps {first:.1f} s)", flush=True)
        except RuntimeError as error:
            print(f"{one.name:32} cannot take part: {error}", flush=True)
    return started


def measure(sides: list[tuple[Side, float]], probes: list[Side], work: Workload, rounds: int, seconds: float) -> dict[str, list[dict]]:
    """Per side and round: tokens per second and the probes (GFLOP/s) read just before it."""
    results: dict[str, list[dict]] = {side.name: [] for side, _ in sides}
    for turn in range(rounds):
        for side, expected in sides if turn % 2 == 0 else reversed(sides):
            probe = {p.name: 20 * GFLOP / p.run(20)[0] for p in probes}
            count = max(1, round(seconds / expected))
            try:
                wall, processor = side.run(count)
            except RuntimeError as error:
                print(f"{side.name:32} is out: {error}", flush=True)
                continue
            tokens = count * work.tokens_per_step
            results[side.name].append({"tokens_per_second": tokens / wall, "processor_ms": 1000 * processor / count, **probe})
    return {name: rows for name, rows in results.items() if len(rows) == rounds}


def report(results: dict[str, list[dict]], work: Workload) -> None:
    """Prints medians, and the ratio of each side to the best peer of the same round."""
    peers = [name for name in results if not name.startswith("lmkit")]
    rate = {name: [r["tokens_per_second"] for r in rows] for name, rows in results.items()}
    best = max(peers, key=lambda name: statistics.median(rate[name])) if peers else None
    columns = f"{'tokens/s':>9} {'ms/step':>9} {'processor':>9} {'to best peer':>16} {'GFLOP/s fp32 bf16':>18} {'of ceiling':>10}"
    print(f"\n{'side':32} {columns}")
    for name in sorted(results, key=lambda name: -statistics.median(rate[name])):
        speed = statistics.median(rate[name])
        ratios = [a / b for a, b in zip(rate[name], rate[best], strict=True)] if best else []
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else "-"
        low, high = (statistics.median(r[f"probe {kind}"] for r in results[name]) for kind in ("float32", "bfloat16"))
        reachable = high if "bfloat16" in name else low if "float32" in name else max(low, high)  # auto may choose either
        ceiling = reachable * 1e9 / work.flops_per_token
        share = "-" if work.new_tokens else f"{speed / ceiling:.0%}"
        clock, processor = 1000 * work.tokens_per_step / speed, statistics.median(r["processor_ms"] for r in results[name])
        print(f"{name:32} {speed:9.0f} {clock:9.1f} {processor:9.1f} {ratio:>16} {low:9.0f} {high:8.0f} {share:>10}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="causal_lm")
    parser.add_argument("--peers", choices=("best", "all", "none"), default="best", help="which configurations of the peers")
    parser.add_argument("--ours", nargs="*", help="configurations of lmkit (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a turn")
    parser.add_argument("--warmup", type=int, default=5, help="steps before the first round, twice")
    parser.add_argument("--json", type=str, help="file for every single reading")
    args = parser.parse_args()
    work = WORKLOADS[args.workload]
    modules = {side: importlib.import_module(SIDES[side]) for side in ("lmkit", "transformers", "keras-hub")}
    names = [("lmkit", c) for c in (modules["lmkit"].CONFIGURATIONS if args.ours is None else args.ours)]
    for side in ("transformers", "keras-hub") if args.peers != "none" else ():
        best = (WRITING if work.new_tokens else BEST)[side]
        names += [(side, c) for c in (best if args.peers == "best" else modules[side].CONFIGURATIONS)]
    probes = [probe for probe, _ in start([("probe", "float32"), ("probe", "bfloat16")], args.workload, 20)]
    sides = start(names, args.workload, 1 if work.new_tokens else args.warmup)
    try:
        results = measure(sides, probes, work, args.rounds, args.seconds)
        report(results, work)
        if args.json:
            Path(args.json).write_text(json.dumps({"workload": args.workload, "results": results}, indent=1))
    finally:
        for one in [*probes, *(side for side, _ in sides)]:
            one.close()


if __name__ == "__main__":
    main()
