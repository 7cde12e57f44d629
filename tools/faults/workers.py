"""Trains a spec in two processes of this machine, again and again kills or stops one of them at a random step, and prints how the other
ends and whether the run comes to the bits of one that was left in peace; then goes from two processes to one and back.

python -m tools.faults.workers model_configs/quickstart.yaml --rounds 4 training.steps=60 logging.every=1
"""

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "run"))
from processes import Group, apart, last_step, ledger, same_bits

KINDS = (signal.SIGKILL, signal.SIGSTOP)
SECONDS = {signal.SIGKILL: 5.0, signal.SIGSTOP: 20.0}  # in which the other has to end
LOSSES = 1e-5  # relative, between numbers of processes, over the whole run
PRECISION = "training.precision=float32"  # which a run at auto decides at its start, and a busy machine not always in the same way


def main() -> int:
    parser = argparse.ArgumentParser(description="Lose one of two processes at random moments; compare the results bit by bit.")
    parser.add_argument("spec", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value, as for lmkit train")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_intermixed_args()
    draw, right = random.Random(arguments.seed), True
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    with tempfile.TemporaryDirectory(prefix="lmkit-workers-") as temporary:
        home = Path(temporary)

        def start(run: Path, count: int) -> Group:
            return Group(run, count, str(arguments.spec.resolve()), PRECISION, *arguments.overrides)

        def whole(run: Path, count: int) -> Path:
            codes, words = start(run, count).ended()
            if any(codes):
                sys.exit(f"{run.name}: {codes} {words}")
            return run

        peace = whole(home / "peace", 2)
        steps = last_step(peace)
        print("| lost | by | at step | exit code | seconds | last words | both again: bits as in peace |\n|---|---|---|---|---|---|---|")
        for number in range(arguments.rounds):
            run, kind, lost = home / f"lost-{number}", KINDS[number % 2], number // 2 % 2
            group = start(run, 2)
            group.until(draw.randrange(1, max(2, steps * 3 // 4)))
            step = last_step(run)
            code, line, seconds = group.without(lost, kind)
            same = same_bits(whole(run, 2), peace)
            right &= code == 75 and seconds <= SECONDS[kind] and same
            print(f"| {'worker' if lost else 'chief'} | {kind.name} | {step} | {code} | {seconds:.1f} | {line} | {same} |", flush=True)
        elastic = home / "elastic"
        for count, share in ((2, 3), (1, 2)):
            group = start(elastic, count)
            group.until(last_step(elastic) + (steps - last_step(elastic)) // share)
            group.all[-1].send_signal(signal.SIGTERM)
            print(f"{count} processes: {group.ended()}", flush=True)
        exact, far = ledger(whole(elastic, 2)) == ledger(peace), apart(elastic, peace, steps)
        right &= exact and far <= LOSSES
        print(f"2 -> 1 -> 2 processes: every step once with the same tokens {exact}; losses of {steps} steps apart by {far:.1e}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
