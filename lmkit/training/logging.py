"""The curves of a run: metrics.jsonl for programs and TensorBoard event files for eyes, each step in them exactly once."""

import contextlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.checkpoints.files import Disk, machine_errors, write_all, write_file
from lmkit.training import events, tags

METRICS, TENSORBOARD = "metrics.jsonl", "tensorboard"
EVENT_FILE = re.compile(r"events\.out\.tfevents\.(\d{10})\.lmkit$")
TEXTS = {"spec": "The resolved spec of the run.", "samples": "Text that the model continues after the prompts of logging.samples."}

Say = Callable[[str], None]


class Logger:
    """Appends to the logs of one run directory; call it as `logger(step, scalars)` with tags of training/tags.py.

    A log that cannot be written (disk full) is said once and does not stop the training.
    """

    def __init__(self, directory: Path, *, say: Say = lambda line: None, clock: Callable[[], float] = time.time) -> None:
        self._directory, self._say, self._clock = directory, say, clock
        self._failed = False
        self.fresh = not any(event.summary.value for event in _events(directory / TENSORBOARD / tags.TRAIN))
        self._open_all()

    def _open_all(self) -> None:
        with machine_errors("the log cannot be opened", self._directory / METRICS):
            self._metrics = _Append(self._directory / METRICS)
        self._events: dict[str, _Append] = {}
        self._described: dict[str, set[str]] = {}

    def __call__(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one line per kind to metrics.jsonl and one event per kind to TensorBoard."""
        for kind in (tags.TRAIN, tags.VALIDATION):
            values = {name: float(value) for k, name, value in ((*tags.split(t), v) for t, v in scalars.items()) if k == kind}
            if values:
                line: dict[str, Any] = {"step": step, "kind": kind}
                line |= {name: value if math.isfinite(value) else None for name, value in values.items()}
                self._guard(self._metrics.write, (json.dumps(line) + "\n").encode())
                self._event(kind, step, [(tags.shown(name), events.scalar, value, _described(name)) for name, value in values.items()])

    def text(self, name: str, step: int, markdown: str) -> None:
        """Shows a text in TensorBoard: `spec` (once, at the start of a fresh log) or, made at an evaluation, `samples`."""
        kind = tags.TRAIN if name == "spec" else tags.VALIDATION
        self._event(kind, step, [(name, events.text, markdown, TEXTS[name])])

    def histograms(self, step: int, tensors: Mapping[str, np.ndarray]) -> None:
        """Shows, at an evaluation, how the values of each tensor are distributed; names are the canonical ones."""
        named = [("weights/" + name, events.histogram, tensor, "Distribution of this tensor's values.") for name, tensor in tensors.items()]
        self._event(tags.VALIDATION, step, named)

    def sync(self) -> None:
        """Puts everything written on disk: to be done before the checkpoint that these steps belong to."""
        for file in (self._metrics, *self._events.values()):
            self._guard(file.sync)

    def cut_back(self, step: int, evaluated: int) -> None:
        """Takes everything after `step` out of the logs, as `cut_back` does, and goes on writing from there."""
        self.close()
        cut_back(self._directory, step, evaluated)
        self._open_all()

    def close(self) -> None:
        """Syncs and closes; the logger is not used afterwards."""
        self.sync()
        for file in (self._metrics, *self._events.values()):
            file.close()

    def _event(self, kind: str, step: int, values: list[tuple[str, Callable, Any, str]]) -> None:
        self._guard(self._write_event, kind, step, values)

    def _write_event(self, kind: str, step: int, values: list[tuple[str, Callable, Any, str]]) -> None:
        file, described = self._open(kind)
        event = events.event(step, self._clock())
        for name, build, value, description in values:
            event.summary.value.append(build(name, value, None if name in described else description))
        file.write(events.record(event))
        described |= {name for name, *_ in values}

    def _open(self, kind: str) -> tuple["_Append", set[str]]:
        if kind not in self._events:
            directory = self._directory / TENSORBOARD / kind
            Disk().make_directories(directory)
            existing = _event_files(directory)
            path = existing[-1] if existing else directory / _event_name(1)
            file = _Append(path)
            if existing:
                self._described[kind] = {v.tag for e in events.records(path.read_bytes()) for v in e.summary.value}
            else:
                file.write(b"".join(map(events.record, events.opening(self._clock()))))
                self._described[kind] = set()
            self._events[kind] = file
        return self._events[kind], self._described[kind]

    def _guard(self, write: Callable[..., None], *arguments: Any) -> None:
        try:
            write(*arguments)
        except OSError as error:
            if not self._failed:
                self._say(f"the log in {self._directory} cannot be written ({error.strerror}); training goes on without it")
            self._failed = True


class _Append:
    """A file that only grows by whole pieces: a piece that fails half-way is taken back."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        Disk().sync(path.parent)
        self._size = os.fstat(self._descriptor).st_size

    def write(self, data: bytes) -> None:
        try:
            write_all(self._descriptor, data)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def read_metrics(directory: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics.jsonl in order; a half-written last line is left out."""
    path = directory / METRICS
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            with contextlib.suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict) and "step" in found and found.get("kind") in (tags.TRAIN, tags.VALIDATION):
                    yield found


def cut_back(directory: Path, step: int, evaluated: int | None = None) -> None:
    """Takes everything after `step` out of the logs of a run, so that what is trained again occurs once.

    `evaluated` is the last step whose evaluation the checkpoint knows of (default `step`): a run may be stopped between a step
    and its evaluation, and what is evaluated again occurs once too.
    metrics.jsonl is replaced in one step. An event file that loses something is followed by one with the next number, which also
    makes a TensorBoard that is open forget the lost steps; the former is then removed. Nothing happens where nothing is to cut.
    Raises MachineError when the disk refuses.
    """
    path = directory / METRICS
    last = {tags.TRAIN: step, tags.VALIDATION: step if evaluated is None else evaluated}
    if path.exists():
        raw = path.read_bytes()
        kept = b"".join((json.dumps(line) + "\n").encode() for line in read_metrics(directory) if line["step"] <= last[line["kind"]])
        if kept != raw:
            write_file(path, kept)
    for kind, end in last.items():
        _cut_events(directory / TENSORBOARD / kind, end)


def _cut_events(directory: Path, step: int) -> None:
    files = _event_files(directory)
    if not files:
        return
    current, raw = files[-1], files[-1].read_bytes()
    found = list(events.records(raw))
    start = found[:2] if len(found) >= 2 else events.opening(time.time())
    kept = [event for event in found[2:] if event.step <= step]
    content = b"".join(map(events.record, [*start, *kept]))
    if content != raw:
        current = directory / _event_name(int(current.name.split(".")[3]) + 1)
        write_file(current, content)
    for file in files:
        if file != current:
            file.unlink(missing_ok=True)


def _event_name(number: int) -> str:
    return f"events.out.tfevents.{number:010d}.lmkit"


def _event_files(directory: Path) -> list[Path]:
    """Our files, oldest first; the last one is complete in itself."""
    return sorted(p for p in directory.iterdir() if EVENT_FILE.match(p.name)) if directory.is_dir() else []


def _events(directory: Path) -> Iterator[Any]:
    for file in _event_files(directory)[-1:]:
        yield from events.records(file.read_bytes())


def _described(name: str) -> str:
    tag = tags.find(name)
    return f"{tag.description} Unit: {tag.unit}." if tag.unit else tag.description
