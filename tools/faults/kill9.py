"""Kills `lmkit train` with SIGKILL at random and at aimed moments and prints how the runs end, beside one left in peace.

python tools/faults/kill9.py model_configs/debug-decoder.yaml --runs 3 --kills 4 training.steps=60 training.save_every=2
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "fault"))
import killer


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill training at random moments; compare the results bit by bit.")
    parser.add_argument("spec", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value, as for lmkit train")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kills", type=int, default=4, help="kills in each run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that one start may take")
    parser.add_argument("--keep", type=Path, help="folder for the runs (default: a temporary one, removed afterwards)")
    arguments = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    def command(run: Path) -> list[str]:
        return [sys.executable, "-m", "lmkit.cli", "train", str(arguments.spec), "--run-dir", str(run), *arguments.overrides]

    def told(outcome: killer.Outcome) -> None:
        print(killer.table([outcome]).splitlines()[1], flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        base = arguments.keep or Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        outcomes = killer.campaign(
            command, base, runs=arguments.runs, kills=arguments.kills, seed=arguments.seed, limit=arguments.limit, told=told
        )
    print()
    print(killer.table(outcomes))
    return 1 if any(outcome.differences for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
