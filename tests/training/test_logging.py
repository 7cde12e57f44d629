"""The logs: what is written is what TensorBoard reads, and after a kill every step is there once."""

import errno
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.util import tensor_util

from lmkit.training import tags
from lmkit.training.logging import Logger, cut_back, read_metrics

sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))  # TensorBoard's reader then leaves TensorFlow out


def write(directory: Path, steps: range, *, close: bool = True) -> Logger:
    directory.mkdir(exist_ok=True)
    logger = Logger(directory, clock=lambda: 1000.0)
    for step in steps:
        logger(step, {"train/loss": 10 / step, "train/lm/loss": 10 / step, "train/tokens_per_second": 5.0})
        if step % 4 == 0:
            logger(step, {"validation/loss": 11 / step, "validation/lm/accuracy": step / 100})
            logger.text("samples", step, f"**{step}** text")
            logger.histograms(step, {"encoder.norm.scale": np.arange(10.0) * step})
    if close:
        logger.close()
    return logger


def board(directory: Path) -> EventMultiplexer:
    """What TensorBoard itself would show."""
    reader = EventMultiplexer().AddRunsFromDirectory(str(directory / "tensorboard"))
    reader.Reload()
    return reader


def series(directory: Path, run: str, tag: str) -> list[tuple[int, object]]:
    return [(e.step, tensor_util.make_ndarray(e.tensor_proto).tolist()) for e in board(directory).Tensors(run, tag)]


def event_files(directory: Path) -> list[Path]:
    return sorted((directory / "tensorboard").rglob("*tfevents*"))


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    write(tmp_path, range(1, 9))
    assert series(tmp_path, "train", "run/loss") == [(s, pytest.approx(10 / s)) for s in range(1, 9)]
    assert series(tmp_path, "validation", "lm/accuracy") == [(s, pytest.approx(s / 100)) for s in (4, 8)]
    assert series(tmp_path, "validation", "samples") == [(4, b"**4** text"), (8, b"**8** text")]
    ((_, rows), _) = series(tmp_path, "validation", "weights/encoder.norm.scale")
    assert len(rows) == 30 and sum(row[2] for row in rows) == 10 and (rows[0][0], rows[-1][1]) == (0.0, 36.0)


def test_each_panel_has_its_description_and_its_plugin(tmp_path: Path) -> None:
    write(tmp_path, range(1, 9))
    reader = board(tmp_path)
    metadata = reader.SummaryMetadata("train", "run/loss")
    assert metadata.summary_description.startswith("Weighted sum") and metadata.plugin_data.plugin_name == "scalars"
    assert reader.SummaryMetadata("validation", "samples").plugin_data.plugin_name == "text"
    assert reader.SummaryMetadata("validation", "weights/encoder.norm.scale").plugin_data.plugin_name == "histograms"


def test_training_and_validation_share_the_panel_of_a_figure(tmp_path: Path) -> None:
    write(tmp_path, range(1, 9))
    assert board(tmp_path).Tensors("train", "run/loss") and board(tmp_path).Tensors("validation", "run/loss")


def test_metrics_are_one_object_a_line(tmp_path: Path) -> None:
    write(tmp_path, range(4, 5))
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        {"step": 4, "kind": "train", "loss": 2.5, "lm/loss": 2.5, "tokens_per_second": 5.0},
        {"step": 4, "kind": "validation", "loss": 2.75, "lm/accuracy": 0.04},
    ]


def test_what_is_not_finite_stays_valid_json(tmp_path: Path) -> None:
    Logger(tmp_path)(1, {"train/loss": float("nan")})
    assert list(read_metrics(tmp_path)) == [{"step": 1, "kind": "train", "loss": None}]


@pytest.mark.parametrize("cut", [0, 3, 4, 7, 11, 12, 50])
def test_after_a_kill_each_step_is_there_once_and_equal_to_the_undisturbed_log(tmp_path: Path, cut: int) -> None:
    write(tmp_path / "whole", range(1, 15))
    run = tmp_path / "killed"
    write(run, range(1, 13), close=False)
    cut_back(run, cut)
    write(run, range(min(cut, 12) + 1, 15))
    assert list(read_metrics(run)) == list(read_metrics(tmp_path / "whole"))
    assert len(event_files(run)) == 2
    for shown in (
        ("train", "run/loss"),
        ("validation", "run/loss"),
        ("validation", "samples"),
        ("validation", "weights/encoder.norm.scale"),
    ):
        assert series(run, *shown) == series(tmp_path / "whole", *shown)


def test_an_evaluation_that_the_checkpoint_does_not_know_is_cut_and_its_step_kept(tmp_path: Path) -> None:
    write(tmp_path, range(1, 9))
    cut_back(tmp_path, 8, evaluated=4)
    assert [(line["step"], line["kind"]) for line in read_metrics(tmp_path)][-2:] == [(7, "train"), (8, "train")]
    assert [step for step, _ in series(tmp_path, "train", "run/loss")][-1] == 8
    assert [step for step, _ in series(tmp_path, "validation", "run/loss")] == [4]
    assert [step for step, _ in series(tmp_path, "validation", "samples")] == [4]


def test_a_log_that_goes_back_while_it_is_open_has_each_step_once(tmp_path: Path) -> None:
    logger = write(tmp_path, range(1, 9), close=False)
    logger.cut_back(5, 4)
    for step in (6, 7):
        logger(step, {"train/loss": 1.0})
    logger.close()
    assert [line["step"] for line in read_metrics(tmp_path) if line["kind"] == "train"] == list(range(1, 8))
    assert [step for step, _ in series(tmp_path, "train", "run/loss")] == list(range(1, 8))
    assert [step for step, _ in series(tmp_path, "validation", "run/loss")] == [4]


def test_half_written_ends_are_cut_off_wherever_they_break(tmp_path: Path) -> None:
    write(tmp_path, range(1, 7))
    metrics, event = tmp_path / "metrics.jsonl", event_files(tmp_path)[0]
    whole_lines, whole_events = metrics.read_bytes(), event.read_bytes()
    for lost in range(1, 160, 13):
        metrics.write_bytes(whole_lines[:-lost])
        for file in event_files(tmp_path):
            if file.parent == event.parent:
                file.unlink()
        event.write_bytes(whole_events[:-lost])
        cut_back(tmp_path, 6)
        (current,) = [f for f in event_files(tmp_path) if f.parent == event.parent]
        assert metrics.read_bytes() in whole_lines and metrics.read_bytes().endswith(b"\n")
        assert current.read_bytes() in whole_events
        kept = [step for step, _ in series(tmp_path, "train", "run/loss")]
        assert kept == list(range(1, len(kept) + 1)) and len(kept) >= 3


def test_cutting_back_changes_nothing_where_nothing_is_later(tmp_path: Path) -> None:
    write(tmp_path, range(1, 9))
    before = {p: (p.read_bytes(), p.stat().st_ino) for p in tmp_path.rglob("*") if p.is_file()}
    cut_back(tmp_path, 8)
    assert {p: (p.read_bytes(), p.stat().st_ino) for p in tmp_path.rglob("*") if p.is_file()} == before
    cut_back(tmp_path / "empty", 8)


def test_a_tensorboard_that_is_open_forgets_the_lost_steps(tmp_path: Path) -> None:
    write(tmp_path, range(1, 13), close=False)
    reader = board(tmp_path)
    assert len(reader.Tensors("train", "run/loss")) == 12
    old = {path: path.read_bytes() for path in event_files(tmp_path)}
    cut_back(tmp_path, 4)
    write(tmp_path, range(5, 7))
    for path, content in old.items():
        path.write_bytes(content)  # with TensorFlow the reader holds the removed file open; its substitute needs the name
    reader.Reload()
    assert [e.step for e in reader.Tensors("train", "run/loss")] == [1, 2, 3, 4, 5, 6]


def test_a_kill_between_the_new_event_file_and_the_old_ones_removal_is_harmless(tmp_path: Path) -> None:
    write(tmp_path, range(1, 9))
    old = {path: path.read_bytes() for path in event_files(tmp_path)}
    cut_back(tmp_path, 4)
    for path, content in old.items():
        path.write_bytes(content)
    cut_back(tmp_path, 4)
    assert not any(path.exists() for path in old) and [s for s, _ in series(tmp_path, "train", "run/loss")] == [1, 2, 3, 4]


def test_a_log_that_cannot_be_written_is_said_once_and_never_left_torn(tmp_path: Path, monkeypatch) -> None:
    said: list[str] = []
    logger = Logger(tmp_path, say=said.append, clock=lambda: 0.0)
    logger(1, {"train/loss": 1.0})
    real = os.write

    calls: list[int] = []

    def full(descriptor: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) % 2 == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:7])

    monkeypatch.setattr(os, "write", full)
    logger(2, {"train/loss": 2.0})
    monkeypatch.undo()
    logger(3, {"train/loss": 3.0})
    logger.close()
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 3]
    assert [step for step, _ in series(tmp_path, "train", "run/loss")] == [1, 3]
    assert len(said) == 1 and "No space" in said[0]


def test_logging_and_reading_back_import_no_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lmkit.training.logging import Logger, cut_back\n"
        "log = Logger(Path(sys.argv[1])); log(1, {'train/loss': 1.0}); log.text('spec', 1, 'x'); log.close()\n"
        "cut_back(Path(sys.argv[1]), 0)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_tags_outside_the_table_are_refused() -> None:
    assert tags.split("validation/lm/loss") == ("validation", "lm/loss")
    with pytest.raises(ValueError, match="test/loss"):
        tags.split("test/loss")
    with pytest.raises(KeyError):
        tags.find("lm/invented")


def test_the_type_of_an_entity_may_hold_any_sign() -> None:
    for kind in ("LOC", "LOC/GPE", "a.b", "/"):
        assert tags.find(f"ner/f1.{kind}") == tags.TAGS["{task}/f1_by_type"]


def test_every_tag_is_described_and_clock_readings_are_marked() -> None:
    assert all(tag.description.endswith(".") for tag in tags.TAGS.values())
    assert {name for name in tags.TAGS if tags.TAGS[name].timed} == {"tokens_per_second", "peak_share", "seconds"}
    assert tags.find("lm/loss") == tags.TAGS["{task}/loss"] and tags.is_timed("tokens_per_second") and not tags.is_timed("loss")
