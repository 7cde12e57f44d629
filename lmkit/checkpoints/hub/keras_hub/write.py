"""The door outwards: a model of ours as a preset that keras-hub opens."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.checkpoints.files import Disk, new_folder, write_file
from lmkit.checkpoints.header import NUMPY
from lmkit.checkpoints.hub.fit import Fit, fit
from lmkit.checkpoints.hub.folder import CONFIG
from lmkit.checkpoints.hub.heads import in_table
from lmkit.checkpoints.hub.keras_hub.h5 import write_tensors
from lmkit.checkpoints.hub.keras_hub.known import CAUSAL, PRESETS, SPARE
from lmkit.checkpoints.hub.keras_hub.objects import Object, made, preprocessor
from lmkit.checkpoints.hub.keras_hub.preset import METADATA, PREPROCESSOR, TASK
from lmkit.checkpoints.hub.plan import Move, make_plan
from lmkit.checkpoints.hub.words import head_width
from lmkit.checkpoints.hub.write import DTYPES, Outgoing
from lmkit.checkpoints.tensors import in_dtype
from lmkit.errors import CheckpointError, Problem

TOKENIZER = "tokenizer.json"
NOT_OF_A_BODY = ("model_type", "architectures", "sequence_length")


def write_preset(dest: Path, model: Outgoing, tensors: Mapping[str, np.ndarray], tokenizer: Callable[[str], dict[str, bytes]]) -> str:
    """Writes the preset, which appears when it is whole, and returns the class that opens it.

    `tokenizer` gives the files of keras-hub's tokenizer for a backbone. Raises CheckpointError where no class of keras-hub can say what
    the model is, MachineError where `dest` is taken or the disk refuses.
    """
    prefer = str(model.facts.config.get("class_name")) if model.facts else ""
    found = fit(model.spec, model.tasks, max_length=model.max_length, prefer=prefer, families=PRESETS)
    if model.tasks and found.name in CAUSAL:
        raise CheckpointError(Problem(f"no class of {found.name} does {', '.join(model.tasks)}", "tasks"))
    writing = _Writing(found, model, tensors)
    with new_folder(dest, "the model is not exported") as folder:
        for name, data in writing.small_files(tokenizer(found.family.model_type)).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(folder / name, data)
        for name, keys in writing.files().items():
            write_tensors(folder / name, writing.stored(name, keys))
        Disk().sync(folder)
    return found.name


class _Writing:
    """One export: which tensors go into which file, and the objects beside them."""

    def __init__(self, found: Fit, model: Outgoing, tensors: Mapping[str, np.ndarray]) -> None:
        self.found, self.model, self.tensors = found, model, tensors
        kinds = {name: task.kind for name, task in model.tasks.items()}  # type: ignore[attr-defined]
        self.names = {in_table(name, kinds): name for name in tensors}
        shapes = {name: tensors[ours].shape for name, ours in self.names.items()}
        table = found.family.table(found.flat)
        plan = make_plan(table, shapes, heads=found.flat["num_heads"], width=head_width(found.flat))
        if plan.homeless:
            what = f"{self.names[plan.homeless[0]]} has no place in the files of {found.family.model_type}"
            raise CheckpointError(Problem(what, "model"))
        self.moves: dict[str, Move] = {move.key: move for move in plan.moves}
        self.config = {key: value for key, value in found.config.items() if key not in NOT_OF_A_BODY and not key.startswith("task.")}
        self.config[found.family.vocabulary[0]] = model.vocab_size
        if any(key not in self.moves for key in found.family.output):
            self.config["tie_word_embeddings"] = True  # else keras-hub looks for an output projection
        self.spare = {key: tuple(self.config[axis] for axis in axes) for key, axes in SPARE.get(found.family.model_type, {}).items()}

    def files(self) -> dict[str, list[str]]:
        """By file the keys in it."""
        found: dict[str, list[str]] = {}
        for key in (*self.moves, *(key for key in self.spare if key not in self.moves)):
            found.setdefault(key.partition("/")[0], []).append(key)
        return found

    def stored(self, name: str, keys: list[str]) -> Iterator[tuple[str, np.ndarray, str]]:
        """(path in the file, values as stored, dtype code) of each tensor of a file."""
        for key in keys:
            values = in_dtype(np.ascontiguousarray(self._values(key)), NUMPY[self.code], key)
            yield key.removeprefix(f"{name}/"), values, self.code

    def _values(self, key: str) -> np.ndarray:
        """A tensor of the model; one that keras-hub has and our model has not is as the source had it, or drawn as keras-hub would."""
        if key in self.moves:
            ours = (self.tensors[self.names[name]] for name in self.moves[key].names)
            return self.moves[key].foreign([in_dtype(one, NUMPY[self.code], key) for one in ours])
        shape, facts = self.spare[key], self.model.facts
        if facts is not None and key in facts.kept and facts.kept[key].shape == shape:
            return facts.kept[key].floats()
        return np.random.default_rng(0).normal(0, 0.02, shape).astype(np.float32) if len(shape) > 1 else np.zeros(shape, np.float32)

    @property
    def code(self) -> str:
        """How numbers are stored: as asked, as they came, or in float32."""
        if self.model.dtype is not None:
            return DTYPES[self.model.dtype]
        came = set(self.model.facts.keys.values()) if self.model.facts else set()
        return next(iter(came)) if len(came) == 1 and came <= set(DTYPES.values()) else "F32"

    def small_files(self, tokenizer: dict[str, bytes]) -> dict[str, bytes]:
        """The objects, and the tokenizer's files."""
        dtype = next(name for name, code in DTYPES.items() if code == self.code)
        body, files = made(self.found.family.model_type, self.config, dtype), dict(tokenizer)
        objects: dict[str, Any] = {CONFIG: body, METADATA: self._metadata()}
        packing = json.loads(files.pop(PREPROCESSOR, b"{}"))
        if TOKENIZER in files and self.found.name != self.found.family.bare:
            objects[PREPROCESSOR] = preprocessor(self.found.name, json.loads(files[TOKENIZER]), packing, self.model.max_length)
        if self.found.name != self.found.family.bare:
            objects[TASK] = made(self.found.name, {"backbone": body, "preprocessor": objects.get(PREPROCESSOR), **self._head()})
        return files | {name: (json.dumps(value, indent=4, ensure_ascii=False) + "\n").encode() for name, value in objects.items()}

    def _head(self) -> Object:
        """What a task's object says of its head."""
        said = {key.removeprefix("task."): value for key, value in self.found.config.items() if key.startswith("task.")}
        for name, task in self.model.tasks.items():
            if "task.dropout" in self.found.family.head_dropout and task.kind in ("classification", "regression"):  # type: ignore[attr-defined]
                said |= {"num_classes": len(self.model.labels.get(name, ("",))), "dropout": task.dropout}  # type: ignore[attr-defined]
        return said

    def _metadata(self) -> Object:
        count = sum(math.prod(move.shape) for key, move in self.moves.items() if key.startswith("model."))
        count += sum(math.prod(shape) for key, shape in self.spare.items() if key not in self.moves)
        labels = next(iter(self.model.labels.values()), None)
        known = {"parameter_count": count, **({"labels": list(labels)} if labels else {})}
        return {"keras_version": _version("keras"), "keras_hub_version": _version("keras-hub"), **known}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
