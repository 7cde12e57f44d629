"""Breaks trainings in every way that machines know, and prints what becomes of them.

    python -m tools.faults all              everything, an hour or two
    python -m tools.faults --short          what needs no TensorFlow, a minute
    python -m tools.faults kills --rounds 200

`--rounds` is how many kills, signals of each kind, flips, or rounds of a race there are.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.faults import disk, kills, locks, power, rot, signals
from tools.faults.table import Lab, Row, table

CAMPAIGNS: dict[str, Callable[[Lab], Iterator[Row]]] = {
    "rot": rot.rows,
    "power": power.rows,
    "locks": locks.rows,
    "disk": disk.rows,
    "signals": signals.rows,
    "kills": kills.rows,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("campaigns", nargs="*", choices=[*CAMPAIGNS, "all"], default="all", help="default: all")
    parser.add_argument("--rounds", type=int, help="how often (default: what each campaign holds to be enough)")
    parser.add_argument("--short", action="store_true", help="only what needs no TensorFlow")
    parser.add_argument("--seed", type=int, default=0, help="of places and moments")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that one start may take")
    parser.add_argument("--keep", type=Path, help="folder for the runs (default: a temporary one, removed afterwards)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that nothing is left behind

    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="lmkit-faults-") as temporary:
        base = arguments.keep or Path(temporary)
        for name, rows in CAMPAIGNS.items():
            if name not in arguments.campaigns and "all" not in arguments.campaigns:
                continue
            began, lab = time.monotonic(), Lab(base / name, arguments.short, arguments.rounds, arguments.seed, arguments.limit, _say)
            found += rows(lab)
            _say(f"{name}: {time.monotonic() - began:.0f} s")
    print(table(found))
    return 0 if all(row.is_right for row in found) else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
