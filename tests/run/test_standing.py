"""A run stands where it begins, where it was saved, or where it went back to: weights, slots and curves together."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from processes import series, tensors
from sessions import checkpoints_of, session

from lmkit.engine import tensorflow as engine
from lmkit.run.model import variables_of
from lmkit.run.session import Session
from lmkit.training.logging import Logger


def held(one: Session) -> dict[str, np.ndarray]:
    """Weights and slots of the session, by their names in a checkpoint."""
    return {name: engine.as_numpy(value) for name, value in {**variables_of(one.model), **one.optimizer.slots}.items()}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_run_begins_with_the_seeds_weights_goes_on_with_its_newest_and_goes_back_with_its_curves(tmp_path: Path) -> None:
    said: list[str] = []
    first, again = session(tmp_path / "run", said), session(tmp_path / "other", said)
    for one in (first, again):
        assert one.standing.resumed(checkpoints_of(one), None) is None
        assert one.standing.begin_at(None, xla=False) is None
    begun = held(first)
    assert same(begun, held(again)) and not any("going on" in line for line in said)

    first.train()
    saved = tensors(tmp_path / "run")
    next_ = session(tmp_path / "run", said)
    kept = checkpoints_of(next_)
    snapshot = next_.standing.resumed(kept, 6)
    assert snapshot is not None and snapshot.step == 6 and not same(held(next_), saved)
    next_.standing.begin_at(snapshot, xla=False)
    assert same(held(next_), saved) and said[-1] == "going on from step 6"

    logger = Logger(tmp_path / "run", say=said.append)
    state = next_.standing.back_to(kept, logger, 5)
    logger.close()
    assert state is not None and state["step"] == 3
    assert not same(held(next_), saved) and not same(held(next_), begun)
    assert max(line["step"] for line in series(tmp_path / "run")) == 3
