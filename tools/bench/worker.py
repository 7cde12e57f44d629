"""One side in its own process: prepares once, then times as many steps as each line of its input says: wall and processor seconds."""

import importlib
import json
import sys
import time

from tools.bench.workloads import WORKLOADS

SIDES = {
    "lmkit": "tools.bench.ours",
    "transformers": "tools.bench.peers_torch",
    "keras-hub": "tools.bench.peers_keras_hub",
    "probe": "tools.bench.probe",
}


def main() -> None:
    side, configuration, workload = sys.argv[1:4]
    answers, sys.stdout = sys.stdout, sys.stderr  # what the libraries print must not stand between the answers
    run = importlib.import_module(SIDES[side]).prepare(WORKLOADS[workload], configuration)
    for line in sys.stdin:
        before = time.process_time()
        seconds = run(int(line))
        print(json.dumps([seconds, time.process_time() - before]), file=answers, flush=True)


if __name__ == "__main__":
    main()
