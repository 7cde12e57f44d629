"""What the chief of several processes sends, the others have; what differs is said before the first step."""

from pathlib import Path
from typing import Any, cast

import pytest

from lmkit.engine.cluster import Cluster
from lmkit.errors import MachineError
from lmkit.run.console import Console
from lmkit.run.crew import Crew
from lmkit.run.directory import RunDirectory
from lmkit.run.signals import StopRequest

FACTS = {"spec": "a", "versions": {"keras": "3.15.1", "numpy": "2.0"}}


class Post:
    """Stands for the sums between processes."""

    def __init__(self) -> None:
        self.sent: Any = None

    def told(self, value: Any) -> Any:
        self.sent = value if value is not None else self.sent
        return self.sent


def crews(said: list[str]) -> tuple[Crew, Crew]:
    post, console = Post(), Console(out=said.append, err=said.append, write=said.append)
    chief, other = (Crew(Cluster(("a:1", "b:1"), i, "TF_CONFIG"), cast("Any", post), StopRequest(), console) for i in (0, 1))
    return chief, other


def a_run(path: Path) -> RunDirectory:
    run = RunDirectory(path)
    (path / "reference").mkdir()
    for name in ("tokenizer.json", "reference/train.npy", "metrics.jsonl"):
        (path / name).write_bytes(name.encode() + b"\xff")
    run.note(saved=7, decisions={"xla": True}, finished={"step": 9, "why": "done"})
    return run


def test_the_others_get_tokenizer_reference_and_notes_and_keep_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    chief, other = crews(said)
    mine = a_run(tmp_path)
    chief.agree(mine, FACTS)
    with other.run_directory(lambda: mine) as theirs:
        assert theirs.path != mine.path
        files = {str(path.relative_to(theirs.path)) for path in theirs.path.rglob("*") if path.is_file()}
        assert files == {"tokenizer.json", "reference/train.npy", "run.json"}
        assert all((theirs.path / name).read_bytes() == (mine.path / name).read_bytes() for name in files - {"run.json"})
        assert theirs.notes == {"decisions": {"xla": True}, "finished": {"step": 9, "why": "done"}} and theirs.finished
        other.agree(theirs, FACTS)
        other.console.out("silent")
    assert not theirs.path.exists() and said == []


def test_what_is_not_the_chiefs_is_said_in_a_line_each(tmp_path: Path) -> None:
    chief, other = crews([])
    chief.agree(a_run(tmp_path), FACTS)
    with other.run_directory(lambda: RunDirectory(tmp_path)) as theirs, pytest.raises(MachineError) as error:
        other.agree(theirs, {"spec": "b", "versions": {"keras": "3.16", "numpy": "2.0"}})
    assert [str(problem) for problem in error.value.problems] == [
        "worker 1 of 2: the spec is not the chief's; start all processes with the same command on the same files",
        "worker 1 of 2: keras 3.16 here and 3.15.1 at the chief; all processes need the same",
    ]
