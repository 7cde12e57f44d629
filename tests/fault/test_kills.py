"""Real SIGKILLs at random and at aimed moments: every run ends with the bits of the run that was left in peace."""

import sys
from pathlib import Path

import pytest

from tools.faults import kills
from tools.faults.prints import differences, fingerprint
from tools.faults.processes import afresh

start = afresh(lambda run: [sys.executable, "-m", "tools.faults.arithmetic", str(run)])


def test_runs_that_are_killed_end_bit_identical_to_the_one_that_was_not(tmp_path: Path) -> None:
    outcomes = kills.campaign(start, tmp_path, runs=3, kills=5, limit=60)
    assert all(o.is_equal for o in outcomes), list(map(str, outcomes))
    assert sum(len(o.kills) for o in outcomes) >= 8 and sum(o.in_flight for o in outcomes) >= 1, list(map(str, outcomes))
    assert sum(o.rejected for o in outcomes) == 0


def test_the_comparison_notices_a_changed_tensor_and_a_step_logged_twice(tmp_path: Path) -> None:
    expected, _ = kills.reference(start, tmp_path / "a", limit=60)
    assert differences(fingerprint(tmp_path / "a"), expected) == []
    other = expected | {"model": {"w": "0" * 64}}
    assert differences(other, expected) == ["model: w"]
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "kind": "train", "loss": 1.0}\n')
    with pytest.raises(AssertionError, match="twice"):
        fingerprint(tmp_path / "a")
