"""lmkit's own checkpoints: one directory is one step, it appears whole or not at all, and nothing damaged is ever loaded."""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.checkpoints.files import Before, Disk, Written, machine_errors, nothing
from lmkit.checkpoints.manifest import NAME, Entry, Manifest, NewerFormat, read_manifest
from lmkit.checkpoints.tensors import CODES, SHARD, check_file, first_not_finite, read_tensors, refuse_not_finite, shards, write_tensors
from lmkit.errors import CheckpointError, MachineError, Problem

STEP = re.compile(r"step-(\d{8,})$")
STATE = "state.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint. When only the model was asked for it is not in memory but read at each look-up, and
    `optimizer` and `state` are empty.
    """

    path: Path
    step: int
    model: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    state: dict[str, Any]
    facts: dict[str, Any]


def silent(line: str) -> None:
    """For who wants no lines."""


def name_of(step: int) -> str:
    """`step-00001000`."""
    return f"step-{step:08d}"


def steps(directory: Path) -> list[int]:
    """Steps that have a directory, oldest first; nothing is verified."""
    with machine_errors("cannot be listed", directory):
        names = [p.name for p in directory.iterdir()] if directory.is_dir() else []
    return sorted(int(match[1]) for match in map(STEP.match, names) if match)


def save(
    directory: Path,
    step: int,
    *,
    model: Mapping[str, np.ndarray],
    optimizer: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
    facts: Mapping[str, Any],
    before: Before = nothing,
    shard: int = SHARD,
) -> Path:
    """Writes `directory/step-N` and returns its path; older checkpoints are not touched.

    Everything is written and synced under another name and renamed when complete, so a kill or a power cut at any moment
    leaves the old state or the new. `before(point)` is called before each operation on the disk.
    Raises NumericsError when a tensor holds NaN or infinity, MachineError when the disk refuses (the temporary is removed).
    """
    refuse_not_finite(model, step)
    refuse_not_finite(optimizer, step)
    for name, tensor in (*model.items(), *optimizer.items()):
        if tensor.dtype.name not in CODES:
            raise TypeError(f"{name} has dtype {tensor.dtype}, which a checkpoint cannot hold")
    disk, final = Disk(before), directory / name_of(step)
    temporary = directory / f".tmp-{final.name}-{os.getpid()}"
    with machine_errors(f"checkpoint of step {step} is not saved, the previous one is intact", directory):
        try:
            disk.make_directories(directory)
            if temporary.exists():
                disk.delete(temporary)
            disk.make_directory(temporary)
            manifest = _write(disk, temporary, step, {"model": model, "optimizer": optimizer}, state, dict(facts), shard)
            if final.exists():
                if _same(final, manifest):
                    disk.delete(temporary)
                    return final
                quarantine(final, disk)
            disk.rename(temporary, final)
        except BaseException:
            with contextlib.suppress(OSError):
                if temporary.exists():
                    Disk().delete(temporary)
            raise
        for name, written in manifest.files.items():
            if (final / name).stat().st_size != written.size:
                raise MachineError(Problem(f"has not the size that was written ({written.size} bytes)", where=str(final / name)))
        before("done")
    return final


def _write(
    disk: Disk,
    into: Path,
    step: int,
    groups: Mapping[str, Mapping[str, np.ndarray]],
    state: Mapping[str, Any],
    facts: dict[str, Any],
    shard: int,
) -> Manifest:
    files: dict[str, Written] = {}
    entries: dict[str, dict[str, Entry]] = {}
    for group, tensors in groups.items():
        entries[group] = {}
        for i, part in enumerate(shards(tensors, shard), 1):
            path = into / f"{group}-{i:05d}.safetensors"
            files[path.name], found = write_tensors(disk, path, part)
            entries[group] |= found
    files[STATE] = disk.write(into / STATE, [json.dumps(state, indent=1, sort_keys=True).encode() + b"\n"])
    manifest = Manifest(step=step, files=files, facts=facts, **entries)
    disk.write(into / NAME, [manifest.dump()])
    disk.sync(into)
    return manifest


def _same(existing: Path, manifest: Manifest) -> bool:
    try:
        found = read_manifest(existing)
        if (found.files, found.step) == (manifest.files, manifest.step):
            verify(existing)
            return True
    except CheckpointError:
        pass
    return False


def verify(checkpoint: Path, *, model_only: bool = False) -> Manifest:
    """Reads every file (or the model's) and compares it with the manifest. Raises CheckpointError naming what is damaged."""
    manifest = read_manifest(checkpoint)
    match = STEP.match(checkpoint.name)
    if match and int(match[1]) != manifest.step:
        raise CheckpointError(Problem(f"its manifest is of step {manifest.step}", where=str(checkpoint)))
    for name in manifest.files:
        if not model_only or name in manifest.model_files():
            check_file(checkpoint, name, manifest)
    return manifest


def read(checkpoint: Path, *, model_only: bool = False) -> Checkpoint:
    """Verifies one checkpoint directory and reads it. Raises CheckpointError when it is damaged or holds NaN."""
    manifest = verify(checkpoint, model_only=model_only)
    model: Mapping[str, np.ndarray] = read_tensors(checkpoint, manifest.model)
    model = model if model_only else dict(model)
    optimizer = {} if model_only else dict(read_tensors(checkpoint, manifest.optimizer))
    bad = first_not_finite(model) or first_not_finite(optimizer)
    if bad is not None:
        raise CheckpointError(Problem(f"tensor {bad} is not finite", where=str(checkpoint)))
    state = {} if model_only else _state(checkpoint)
    return Checkpoint(checkpoint, manifest.step, model, optimizer, state, manifest.facts)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The state alone, verified. Raises CheckpointError when it is damaged."""
    check_file(checkpoint, STATE, read_manifest(checkpoint))
    return _state(checkpoint)


def _state(checkpoint: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return found


def load(
    directory: Path, step: int | None = None, *, at_most: int | None = None, say: Say = silent, repair: bool = False
) -> Checkpoint | None:
    """Reads the newest checkpoint that verifies, or exactly `step`; None when there has never been one.

    With `at_most`, the newest of that step or an earlier one, or the oldest of all where there is none so old.

    A damaged one is named through `say` and the next older is taken. With `repair` (only for who holds the run's lock) it is
    also set aside as `.bad-...`; nothing is ever deleted.
    Raises CheckpointError when `step` is absent or damaged, when none of several verifies, and for a later format.
    """
    found = steps(directory)
    if step is not None:
        if step not in found:
            have = ", ".join(map(str, found[-10:])) or "none"
            raise CheckpointError(Problem(f"has no checkpoint of step {step}; it has {have}", where=str(directory)))
        return read(directory / name_of(step))
    if at_most is not None and found:
        found = [number for number in found if number <= max(at_most, found[0])]
    problems: list[Problem] = []
    for number in reversed(found):
        path = directory / name_of(number)
        try:
            return read(path)
        except NewerFormat:
            raise
        except CheckpointError as error:
            problems += error.problems
            aside = f"; set aside as {quarantine(path).name}" if repair else ""
            say(f"{error}{aside}; trying the next older checkpoint")
    aside_names = [p for p in directory.iterdir() if p.name.startswith(".bad-")] if directory.is_dir() else []
    if not problems and not aside_names:
        return None
    summary = Problem("there are checkpoints and none can be used; --from-scratch starts anew and keeps them aside", where=str(directory))
    raise CheckpointError(*problems, *(Problem("was found damaged before", where=str(p)) for p in aside_names if not problems), summary)


def quarantine(checkpoint: Path, disk: Disk | None = None) -> Path:
    """Renames a checkpoint to `.bad-step-N`, with a number when that name is taken, and returns the new path."""
    taken = {p.name for p in checkpoint.parent.iterdir()}
    names = [f".bad-{checkpoint.name}"] + [f".bad-{checkpoint.name}-{i}" for i in range(2, len(taken) + 3)]
    new = checkpoint.with_name(next(name for name in names if name not in taken))
    with machine_errors("cannot be set aside", checkpoint):
        (disk or Disk()).rename(checkpoint, new)
    return new


def retain(directory: Path, keep: int, *, reach: int = 0, before: Before = nothing) -> None:
    """Deletes all but the newest `keep` (at least one) checkpoints; what is set aside, or not ours, is left alone.

    With `reach`, one is kept that is at least so many steps older than the newest, and the one after it, which will be that in its turn.
    """
    found = steps(directory)
    kept = set(found[-max(keep, 1) :])
    if reach and found:
        old = sum(step <= found[-1] - reach for step in found)
        kept |= set(found[max(old - 1, 0) : old + 1])
    delete(directory, [step for step in found if step not in kept], before=before)


def delete(directory: Path, unwanted: Iterable[int], *, before: Before = nothing) -> None:
    """Deletes the checkpoints of some steps, one after another. Raises MachineError."""
    for step in unwanted:
        with machine_errors("a checkpoint that is no longer wanted cannot be deleted", directory):
            Disk(before).delete(directory / name_of(step))


def set_best(checkpoints: Path, best: Path, step: int, *, before: Before = nothing) -> bool:
    """Makes `best/` hold exactly the checkpoint of `step`; False when that is neither there nor in `checkpoints/`.

    The files are hard links (copies where those do not exist), so a best checkpoint costs no second write; the previous best
    is deleted after the new one has its name.
    """
    disk, source, final = Disk(before), checkpoints / name_of(step), best / name_of(step)
    if not final.exists():
        if not source.exists():
            return False
        temporary = best / f".tmp-{final.name}-{os.getpid()}"
        with machine_errors(f"best checkpoint of step {step} is not kept, the previous best is intact", best):
            disk.make_directories(best)
            if temporary.exists():
                disk.delete(temporary)
            disk.make_directory(temporary)
            for file in sorted(source.iterdir()):
                disk.link(file, temporary / file.name)
            disk.sync(temporary)
            disk.rename(temporary, final)
    for other in steps(best):
        if other != step:
            with machine_errors("the previous best cannot be deleted", best):
                disk.delete(best / name_of(other))
    return True
