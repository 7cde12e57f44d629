"""What two runs must have in common: every tensor, the state, and every point of every curve."""

import itertools
from pathlib import Path
from typing import Any

from lmkit.checkpoints import own
from lmkit.training import events, tags
from lmkit.training.logging import read_metrics


def fingerprint(run: Path) -> dict[str, Any]:
    """Everything that must be equal: sha256 of every tensor, the state, the best, every point of every log; no clock readings.

    Raises AssertionError when a step occurs twice or out of order.
    """
    steps = own.steps(run / "checkpoints")
    newest = own.verify(run / "checkpoints" / own.name_of(steps[-1]))
    found: dict[str, Any] = {"step": newest.step, "kept": steps, "state": newest.files[own.STATE].sha256}
    found["model"] = {name: entry.sha256 for name, entry in newest.model.items()}
    found["optimizer"] = {name: entry.sha256 for name, entry in newest.optimizer.items()}
    for step in own.steps(run / "best"):
        found[f"best {step}"] = {n: e.sha256 for n, e in own.verify(run / "best" / own.name_of(step)).model.items()}
    lines = [{k: v for k, v in line.items() if k in ("step", "kind") or not tags.is_timed(k)} for line in read_metrics(run)]
    found["metrics.jsonl"] = lines
    for kind in (tags.TRAIN, tags.VALIDATION):
        once([line["step"] for line in lines if line["kind"] == kind], f"{kind} in metrics.jsonl")
        found[f"tensorboard/{kind}"] = _points(run / "tensorboard" / kind)
    return found


def trained_to(run: Path) -> int:
    """The last step that has a point in the curves, 0 where there is none."""
    return max((line["step"] for line in read_metrics(run) if line["kind"] == tags.TRAIN), default=0)


def saved_to(run: Path) -> int:
    """The step of the newest checkpoint, which is proved; 0 where there is none."""
    steps = own.steps(run / "checkpoints")
    return own.verify(run / "checkpoints" / own.name_of(steps[-1])).step if steps else 0


def _points(directory: Path) -> list[tuple[str, int, str]]:
    files = sorted(directory.glob("*tfevents*"))
    assert len(files) <= 1, f"{directory} has {len(files)} event files"
    points = []
    for event in events.records(files[0].read_bytes()) if files else ():
        for value in event.summary.value:
            value.ClearField("metadata")
            if value.tag.startswith("weights/") or value.tag in ("spec", "samples") or not tags.is_timed(value.tag.removeprefix("run/")):
                points.append((value.tag, event.step, value.tensor.SerializeToString(deterministic=True).hex()))
    for tag in {point[0] for point in points}:
        once([step for name, step, _ in points if name == tag], f"{tag} in {directory}")
    return points


def once(steps: list[int], where: str) -> None:
    """Raises AssertionError unless the steps go up."""
    assert all(a < b for a, b in itertools.pairwise(steps)), f"{where}: steps occur twice or out of order: {steps}"


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Names of what differs, tensors one by one."""
    names = []
    for key in sorted(found.keys() | expected.keys()):
        one, other = found.get(key), expected.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            names += [f"{key}: {name}" for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
        elif one != other:
            names.append(key)
    return names
