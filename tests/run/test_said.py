"""What a run says at its end, and of the step that ended it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from sessions import session

from lmkit.run.directory import DONE
from lmkit.run.said import NAN_REPORT
from lmkit.training.progress import RunState


def test_a_step_that_ends_a_run_is_told_with_its_texts_and_a_disk_that_takes_nothing_ends_it_no_other_way(tmp_path: Path) -> None:
    said: list[str] = []
    one = session(tmp_path / "run", said)
    one.said.tell({"step": 2, "loss": "nan"})
    path = tmp_path / "run" / NAN_REPORT
    known = json.loads(path.read_text())
    assert known["step"] == 2 and known["documents"] == one.material.batches.documents(1) and known["documents"]
    assert said[-1] == f"{path} says what is known of step 2"
    path.unlink()
    path.mkdir()  # which no file can take the place of
    one.said.tell({"step": 3, "loss": "nan"})
    assert str(path) in said[-1] and "says what is known" not in said[-1] and path.is_dir()


def test_the_report_says_why_a_run_ended_and_what_it_came_to(tmp_path: Path) -> None:
    said: list[str] = []
    one = session(tmp_path / "run", said)
    one.train()
    del said[:]
    state = replace(RunState(), step=4, tokens=1234, metrics={"lm/loss": 1.25})
    for why in (DONE, "lm/loss no longer improved after step 2"):
        one.said.report(state, one.plan, why)
        text = (tmp_path / "run" / "report.md").read_text()
        assert why in text and "1,234" in text
    assert said.count("validation lm/loss: 1.2500") == 2
    early = [line for line in said if line.startswith("stopped early at step 4 of 6: lm/loss no longer improved after step 2")]
    assert len(early) == 1  # and nothing of the kind where the plan was done
