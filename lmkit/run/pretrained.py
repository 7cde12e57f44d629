"""What a foreign folder has for heads that are new: the shape that its family gives them, and their parts that lie in its files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmkit.checkpoints.header import Stored
from lmkit.checkpoints.hub.facts import read_facts
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.folder import FORMATS
from lmkit.checkpoints.hub.heads import in_table
from lmkit.checkpoints.hub.plan import Move, Shape, make_plan
from lmkit.checkpoints.hub.read import family_kept
from lmkit.checkpoints.hub.words import Flat
from lmkit.run.source import Source
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.spec import AnyTask, Classification, Pooled

PARTS = (".pooler.", ".pooler_norm.")  # what is trained beside a body and not for one task alone


@dataclass(frozen=True)
class Origin:
    """The folder that a model comes from, now or when it was imported."""

    family: Family
    config: Mapping[str, Any]
    flat: Flat
    tensors: Mapping[str, Stored]

    def words(self, kind: str) -> Flat | None:
        """The words of the family's head of a kind, None where it has none."""
        heads = (head for heads in self.family.classes.values() for head in heads if head.kind == kind)
        return next((head.read(self.config) for head in heads), None)


def origin_of(source: Source) -> Origin | None:
    """None where the model never was in a foreign folder."""
    if source.imported is not None:
        imported = source.imported
        return Origin(imported.family, imported.config, imported.flat, imported.folder.tensors)
    facts = next((facts for name in FORMATS if (facts := read_facts(source.path / name))), None)
    if facts is None:
        return None
    family, config = family_kept(facts.config)
    return Origin(family, config, family.read(config), facts.kept)


def with_heads(spec: RunSpec, source: Source) -> RunSpec:
    """The spec whose new heads look like those of the family that the body is from, where it says nothing else itself."""
    origin = origin_of(source)
    return spec.model_copy(update={"tasks": {name: _shaped(task, origin) for name, task in spec.tasks.items()}})


def _shaped(task: AnyTask, origin: Origin | None) -> AnyTask:
    if not isinstance(task, Pooled) or not task.pools:
        return task
    words = (origin.words("classification") if origin and isinstance(task, Classification) else None) or {}
    given = task.model_fields_set
    if "pooling" in given and task.pooling != words.get("pooling", "first"):
        words = {}
    task = task.model_copy(update={key: value for key, value in words.items() if key not in given})
    return task.model_copy(update={"pooler": task.pooler_activation or "none"})


def parts_of(spec: RunSpec, source: Source, shapes: Mapping[str, Shape], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values for parts of new heads that the source's own heads have under another task, such as the pooler that tells neighbours,
    or that only lie in its files, such as the pooler of a BERT that fills masks. `tensors` are the source's.
    """
    origin = origin_of(source)
    wanted = {name: shape for name, shape in shapes.items() if name.startswith("heads.") and any(part in name for part in PARTS)}
    if origin is None or not wanted:
        return {}
    given = {name: tuple(tensors[name].shape) for name in tensors if name.startswith("heads.")}
    there = {move.key: names for move, names in _moves(origin, source.spec, given)}
    found: dict[str, np.ndarray] = {}
    for move, names in _moves(origin, spec, wanted):
        stored = origin.tensors.get(move.key)
        if move.key in there and [given[name] for name in there[move.key]] == [wanted[name] for name in names]:
            found |= {ours: tensors[theirs] for ours, theirs in zip(names, there[move.key], strict=True)}
        elif stored is not None and stored.shape == move.shape:
            found |= dict(zip(names, move.ours(stored.floats()), strict=True))
    return found


def _moves(origin: Origin, spec: RunSpec, shapes: Mapping[str, Shape]) -> Iterator[tuple[Move, list[str]]]:
    """Each foreign tensor of these variables, and their names."""
    kinds = {name: task.kind for name, task in spec.tasks.items()}
    names = {in_table(name, kinds): name for name in shapes}
    plan = make_plan(
        origin.family.table(origin.flat), {theirs: shapes[name] for theirs, name in names.items()}, heads=1, keys=origin.tensors
    )
    return ((move, [names[name] for name in move.names]) for move in plan.moves)
