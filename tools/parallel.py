"""Prints how far losses, gradient norms and weights are apart on 1 process, 2 and 4 replicas, 2 processes, 4 micro-batches and with
rematerialization, for a causal and a masked language model with dropout, clipping and weight decay.

python tools/parallel.py --steps 50 training.batch_size=8
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "model_configs"
SPECS = ("debug-decoder", "debug-encoder")
ALSO = ("runtime.replicas=2", "training.rematerialize=blocks")
HARD = ("training.optimizer.clip_norm=0.5", "training.optimizer.weight_decay=0.1")
LIMIT = 1e-6  # of the losses


def main() -> int:
    parser = argparse.ArgumentParser(description="One model, however it is spread: relative differences to one replica.")
    parser.add_argument("overrides", nargs="*", help="key=value, as for lmkit train")
    parser.add_argument("--spec", action="append", help=f"spec files (default: {', '.join(SPECS)})")
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_intermixed_args()
    right = True
    print("| spec | beside 1 replica | losses | gradient norms | weights, slots |\n|---|---|---|---|---|", flush=True)
    for spec in arguments.spec or [str(CONFIGS / f"{name}.yaml") for name in SPECS]:
        command = [sys.executable, "-m", "lmkit.cli", "verify-parallel", spec, *HARD, f"training.steps={arguments.steps}"]
        command += [*arguments.overrides, "--json", "--steps", str(arguments.steps), "--replicas", "4", "--workers", "2"]
        done = subprocess.run(command + [word for also in ALSO for word in ("--also", also)], stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout)
        for side in found.get("sides", []):
            right &= side["loss"] <= LIMIT
            print(
                f"| {Path(spec).stem} | {side['name']} | {side['loss']:.1e} | {side['gradient_norm']:.1e} | {side['weights']:.1e} |",
                flush=True,
            )
        right &= found["ok"]
        if not found["ok"]:
            print(found, file=sys.stderr)
    print(f"losses equal to {LIMIT:g}: {'all' if right else 'not all'}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
