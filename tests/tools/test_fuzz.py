"""Some hundred spoilt specs, as tools/fuzz.py makes them by the thousand: no bug, no second, no act but reading, and the right place."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import fuzz

from lmkit.spec_file.recipes import recipes


def test_spoilt_specs_are_refused_with_the_line_and_the_word_that_was_meant(tmp_path: Path) -> None:
    tally = fuzz.run(500, 3, tmp_path)
    told = tally.report()
    assert tally.faults == []
    assert told["mutants"] == 500 and told["refused"] > 350
    assert told["on_the_line"] >= 0.98 and told["did_you_mean"] >= 0.95, tally.misses


def test_what_a_check_does_beside_reading_is_noticed(tmp_path: Path, monkeypatch) -> None:
    def writes(arguments: list[str]) -> int:
        (tmp_path / "written").write_text("x")
        print("{}")
        return 0

    tally = fuzz.run(0, 0, tmp_path)
    monkeypatch.setattr(fuzz, "lmkit", writes)
    fuzz.judge(fuzz.Mutant("any", recipes()["quickstart"].read_bytes()), tmp_path / "spec.yaml", tally)
    assert len(tally.faults) == 1 and "written" in tally.faults[0]
