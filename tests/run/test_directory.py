"""The run directory: continued by the same spec alone, foreign folders untouched, nothing ever deleted."""

import json
import os
from pathlib import Path

import pytest

from lmkit.errors import CheckpointError, MachineError, SpecError
from lmkit.run.changes import flat
from lmkit.run.directory import DONE, RunDirectory, existing_run, open_run, require_space

SPEC = {
    "name": "tiny",
    "model": {"kind": "decoder", "num_layers": 2, "attention": {"window": [4, "full"]}},
    "training": {"steps": 100, "keep": 2, "save_every": {"value": 10, "unit": "steps"}, "batch_size": 8},
    "logging": {"every": 10, "samples": []},
}


def text(spec: dict) -> str:
    return json.dumps(spec)


def changed(**keys: object) -> dict:
    """The spec with dotted keys replaced; `__` stands for the dot."""
    spec = json.loads(text(SPEC))
    for key, value in keys.items():
        *way, last = key.split("__")
        branch = spec
        for part in way:
            branch = branch[part]
        branch[last] = value
    return spec


def start(path: Path, spec: dict = SPEC, **options) -> RunDirectory:
    return open_run(path, spec_text="# as written\n" + text(spec), resolved_text=text(spec), parse=json.loads, **options)


def saved(path: Path) -> None:
    """A run that has something to lose."""
    start(path).close()
    (path / "checkpoints" / "step-00000010").mkdir(parents=True)


def everything(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != "run.lock"}


def test_a_new_run_keeps_the_spec_as_written_and_as_resolved(tmp_path: Path) -> None:
    with start(tmp_path / "runs" / "tiny") as run:
        assert not run.resumed and run.changes == ()
        assert run.spec.read_text().startswith("# as written") and json.loads(run.resolved.read_text()) == SPEC
        assert json.loads((run.path / "run.lock").read_text())["pid"] == os.getpid()


def test_the_same_spec_continues_and_changes_no_file(tmp_path: Path) -> None:
    start(tmp_path / "r").close()
    (tmp_path / "r" / "metrics.jsonl").write_text("{}\n")
    before = everything(tmp_path)
    with start(tmp_path / "r") as run:
        assert run.resumed and run.changes == ()
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        (changed(training__steps=200), "training.steps: 100 -> 200"),
        (changed(training__keep=5), "training.keep: 2 -> 5"),
        (changed(training__save_every={"value": 2, "unit": "minutes"}), "training.save_every.unit"),
        (changed(logging__every=1), "logging.every: 10 -> 1"),
        (changed(logging__samples=["Once"]), "logging.samples: [] -> [Once]"),
        (changed(tasks={"qa": {"no_answer_threshold": 0.4}}), "tasks.qa.no_answer_threshold: nothing -> 0.4"),
        (changed(tasks={"t": {"decode": {"kind": "beam", "beams": 4}}}), "tasks.t.decode.kind: nothing -> beam"),
        (changed(tasks={"t": {"metrics": ["bleu", "rouge1"]}}), "tasks.t.metrics: nothing -> [bleu, rouge1]"),
        (changed(tasks={"t": {"bleu_tokenizer": "zh"}}), "tasks.t.bleu_tokenizer: nothing -> zh"),
        (changed(tasks={"t": {"windows": {"pool": "max"}}}), "tasks.t.windows.pool: nothing -> max"),
        (changed(training__non_finite={"kind": "skip"}), "training.non_finite.kind: nothing -> skip"),
        (changed(training__evaluate_documents=50), "training.evaluate_documents: nothing -> 50"),
    ],
)
def test_harmless_changes_are_taken_over_and_named(tmp_path: Path, spec: dict, line: str) -> None:
    start(tmp_path / "r").close()
    with start(tmp_path / "r", spec) as run:
        assert run.resumed and any(change.startswith(line) for change in run.changes)
        assert json.loads(run.resolved.read_text()) == spec
    with start(tmp_path / "r", spec) as run:
        assert run.changes == ()


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        (changed(training__steps=50), "training.steps: 100 -> 50; a run may be made longer, never shorter"),
        (changed(training__batch_size=16), "training.batch_size: 8 -> 16"),
        (changed(model__attention={"window": [8, "full"]}), "model.attention.window: [4, full] -> [8, full]"),
        (changed(tasks={"t": {"windows": {"stride": 8}}}), "tasks.t.windows.stride: nothing -> 8"),
        (changed(model__position="rotary"), "model.position: nothing -> rotary"),
        (changed(training__steps=None, training__tokens=10**6), "training.steps: 100 -> nothing"),
    ],
)
def test_another_spec_is_refused_key_by_key_and_nothing_changes(tmp_path: Path, spec: dict, line: str) -> None:
    saved(tmp_path / "r")
    before = everything(tmp_path)
    with pytest.raises(SpecError) as error:
        start(tmp_path / "r", spec)
    assert line in str(error.value).splitlines() and "--from-scratch" in str(error.value)
    assert everything(tmp_path) == before
    start(tmp_path / "r").close()


def test_all_differences_are_named_at_once(tmp_path: Path) -> None:
    saved(tmp_path / "r")
    with pytest.raises(SpecError) as error:
        start(tmp_path / "r", changed(name="other", model__num_layers=3, logging__every=3))
    assert [p.key for p in error.value.problems] == ["name", "model.num_layers", ""]


def test_a_run_that_never_saved_begins_anew_with_another_spec(tmp_path: Path) -> None:
    with start(tmp_path / "r") as run:
        run.tokenizer.write_text("made from the former data")
        run.note(labels={"stars": ["1", "2"]})
    said: list[str] = []
    with start(tmp_path / "r", changed(training__batch_size=16), say=said.append) as run:
        assert not run.resumed and not run.tokenizer.exists() and run.notes == {}
        assert json.loads(run.resolved.read_text())["training"]["batch_size"] == 16
    assert len(said) == 1 and "nothing was trained here yet" in said[0]


def test_from_scratch_moves_the_old_run_aside_whole(tmp_path: Path) -> None:
    start(tmp_path / "r").close()
    (tmp_path / "r" / "metrics.jsonl").write_text("old\n")
    old = everything(tmp_path / "r")
    said: list[str] = []
    for number in (1, 2):
        with start(tmp_path / "r", changed(name="new"), from_scratch=True, say=said.append) as run:
            assert not run.resumed
        assert said[-1].endswith(f"r.old-{number}")
    assert everything(tmp_path / "r.old-1") == old
    assert set(everything(tmp_path / "r")) == {"spec.yaml", "resolved.yaml"}
    start(tmp_path / "fresh", from_scratch=True).close()
    assert not (tmp_path / "fresh.old-1").exists()


@pytest.mark.parametrize("options", [{}, {"from_scratch": True}])
@pytest.mark.parametrize("names", [["thesis.tex"], ["spec.yaml"], ["spec.yaml", "data.csv", "run.lock"], [".git"]])
def test_a_folder_of_other_files_is_not_touched(tmp_path: Path, names: list[str], options: dict) -> None:
    for name in names:
        (tmp_path / name).write_text("precious")
    with pytest.raises(MachineError, match=names[0]):
        start(tmp_path, **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).read_text() == "precious" for name in names)


def test_an_empty_folder_and_one_killed_at_its_making_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    start(tmp_path / "empty").close()
    (tmp_path / "killed").mkdir()
    for name in ("run.lock", "spec.yaml", ".tmp-4711"):
        (tmp_path / "killed" / name).write_text("")
    with start(tmp_path / "killed") as run:
        assert not run.resumed and json.loads(run.resolved.read_text()) == SPEC
        assert not (run.path / ".tmp-4711").exists()


def test_a_directory_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(MachineError, match="file"):
            start(path)
    with pytest.raises(MachineError, match="cannot be made"):
        start(Path("/proc/lmkit-run"))


def test_a_mistyped_resume_never_starts_a_fresh_run(tmp_path: Path) -> None:
    start(tmp_path / "bert-small").close()
    with pytest.raises(CheckpointError, match="bert-small"):
        start(tmp_path / "bert-smal", resume=True)
    with pytest.raises(CheckpointError, match="bert-small"):
        existing_run(tmp_path / "bert-smal")
    assert not (tmp_path / "bert-smal").exists()
    assert existing_run(tmp_path / "bert-small").resumed


def test_a_finished_run_says_so_until_it_is_made_longer(tmp_path: Path) -> None:
    with start(tmp_path / "r") as run:
        assert run.finished == ""
        run.finish(100, DONE)
    with start(tmp_path / "r") as run:
        assert run.finished == f"{tmp_path / 'r'} is already finished at step 100: all steps are done"
    with start(tmp_path / "r", changed(training__steps=150)) as run:
        assert run.finished == ""


def test_notes_are_added_to(tmp_path: Path) -> None:
    with start(tmp_path / "r") as run:
        run.note(decisions={"precision": "bfloat16"}, saved=10)
        run.note(saved=20)
        assert run.notes == {"decisions": {"precision": "bfloat16"}, "saved": 20}


def test_a_full_disk_is_noticed_before_the_start(tmp_path: Path) -> None:
    require_space(tmp_path, 1, "checkpoints")
    with pytest.raises(MachineError, match="checkpoints need"):
        require_space(tmp_path, 10**18, "checkpoints")


def test_keys_are_flat_and_lists_whole_unless_they_are_of_mappings() -> None:
    assert dict(flat({"a": {"b": 1, "c": {}}, "d": [{"e": 2}], "f": [1, {}]})) == {"a.b": 1, "a.c": {}, "d.0.e": 2, "f": [1, {}]}
