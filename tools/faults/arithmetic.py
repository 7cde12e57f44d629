"""A training of a few numbers in numpy over the real run directory, lock, log and checkpoints: fast enough to be broken often.

python -m tools.faults.arithmetic RUN_DIR [STEPS [SECONDS_PER_STEP]]
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.checkpoints.own import Say, silent
from lmkit.errors import LmkitError
from lmkit.run.directory import DONE, open_run
from lmkit.training.checkpointing import Checkpoints
from lmkit.training.hooks import Snapshot
from lmkit.training.logging import Logger, cut_back


def train(path: Path, steps: int = 40, pause: float = 0.0, say: Say = silent) -> None:
    """Begins the run, or goes on with it, to the end. Raises what `lmkit train` raises when something is in the way."""
    spec = json.dumps({"name": "numbers", "training": {"steps": steps}})
    with open_run(path, spec_text=spec, resolved_text=spec, parse=json.loads, say=say) as run:
        if run.finished:
            say(run.finished)
            return
        w, m = np.zeros((40, 50), np.float32), np.zeros((40, 50), np.float32)
        state: dict[str, Any] = {"evaluated": 0, "best": None, "best_step": None}
        saved = run.notes.get("saved")
        resumed = Checkpoints(path, keep=2, facts={}, say=say).resume(model={"w": w}, optimizer={"w/m": m}, saved=saved)
        step = 0
        if resumed:
            step, w, m, state = resumed.step, resumed.model["w"].copy(), resumed.optimizer["w/m"].copy(), resumed.state
        cut_back(path, step, state["evaluated"])
        logger = Logger(path, say=say)
        if logger.fresh:
            logger.text("spec", 0, spec)
        save = Checkpoints(path, keep=2, facts={}, before_save=logger.sync, saved=lambda at: run.note(saved=at), say=say)
        try:
            while step < steps:
                step += 1
                gradient = np.random.default_rng(step).normal(size=w.shape).astype(np.float32)
                m = 0.9 * m + gradient
                w = w - 0.1 * m
                time.sleep(pause)
                logger(step, {"train/loss": float(np.abs(w).mean()), "train/tokens_per_second": time.time()})
                best = False
                if step % 5 == 0:
                    state["evaluated"] = step
                    figure = float(np.abs(w - 1).mean())
                    logger(step, {"validation/loss": figure, "validation/seconds": time.time()})
                    logger.histograms(step, {"w": w})
                    best = state["best"] is None or figure < state["best"]
                    state |= {"best": figure, "best_step": step} if best else {}
                if best or step % 2 == 0 or step == steps:
                    save(Snapshot(step, {"w": w}, {"w/m": m}, dict(state), {}), best=best)
            save.settle(wait=True)
        finally:
            logger.close()
        run.finish(steps, DONE)


def main(path: str, steps: str = "40", pause: str = "0.002") -> int:
    """Exit code as of `lmkit train`."""
    try:
        train(Path(path), int(steps), float(pause), print)
    except LmkitError as error:
        print(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
