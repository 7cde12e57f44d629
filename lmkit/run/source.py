"""What a model can come from: a run of lmkit, or a foreign folder that is read as if it were one."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lmkit.checkpoints.find import read_entries, read_model
from lmkit.checkpoints.header import FLOATS, NUMPY
from lmkit.checkpoints.hub.folder import CONFIG, FORMATS, is_folder, refuse_code
from lmkit.checkpoints.hub.generation import Habits, read_habits
from lmkit.checkpoints.hub.read import Imported, read_folder
from lmkit.checkpoints.tensors import prevailing
from lmkit.errors import CheckpointError, Problem
from lmkit.models.count import count
from lmkit.models.spec import FromRun
from lmkit.run.directory import RunDirectory, existing_run
from lmkit.spec_file.load import load
from lmkit.spec_file.resolve import resolve
from lmkit.spec_file.spec import RunSpec
from lmkit.spec_file.tree import Node
from lmkit.spec_file.validate import validate
from lmkit.tasks.spec import Pooled
from lmkit.text.build import load_tokenizer
from lmkit.text.tokenizer import Tokenizer

LONGEST = 4096  # tokens in a row by default, where a model could read many more
EVALUATED = 4096  # tokens of a batch that is evaluated: with 50,000 pieces to choose among, their scores alone have 800 MB

Say = Callable[[str], None]
Shapes = Mapping[str, tuple[int, ...]]


class Weights(NamedTuple):
    """Variables by name, and of a run the step and the checkpoint that they are from."""

    tensors: Mapping[str, np.ndarray]
    step: int = 0
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Source:
    """A model in words, and the ways to its tokenizer and weights; `imported` is None where it is a run."""

    path: Path
    spec: RunSpec
    labels: dict[str, tuple[str, ...]]
    imported: Imported | None = None

    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer, with as many rows as its embedding."""
        if self.imported is None:
            return load_tokenizer(RunDirectory(self.path).tokenizer)
        tokenizer = load_tokenizer(self.path, self.imported.vocab_size)
        ends = {token for gap in tokenizer.template.single.gaps for token, _ in gap}
        for task in self.spec.tasks.values():
            if isinstance(task, Pooled) and task.end_id is not None and task.end_id not in ends:
                what = f"eos_token_id: expected a token that the tokenizer puts around texts, got {task.end_id}, which is to be pooled"
                raise CheckpointError(Problem(what, where=str(self.path / CONFIG)))
        return tokenizer

    def weights(self, shapes: Callable[[], Shapes], say: Say) -> Weights:
        """The variables by name, and where they are from; `shapes()` are those of this source's own model.

        They are as they are stored, and read one by one, each time they are asked for. Raises CheckpointError.
        """
        if self.imported is None:
            found = read_model(self.path, say=say)
            return Weights(found.model, found.step, found.path)
        return Weights(self.imported.tensors(shapes()))

    def stored_in(self) -> str:
        """The dtype of most of the weights. Raises CheckpointError."""
        if self.imported is None:
            return prevailing((entry.dtype, entry.shape) for entry in read_entries(self.path).values())
        stored = self.imported.folder.tensors.values()
        return prevailing((NUMPY[one.dtype].name, one.shape) for one in stored if one.dtype in FLOATS)


def source_of(path: Path) -> Source:
    """Reads the words of a run or folder; no weights. Raises CheckpointError where it is neither, or not understood."""
    existing(path)
    if not is_foreign(path):
        directory = RunDirectory(path)
        labels = {name: tuple(names) for name, names in directory.notes.get("labels", {}).items()}
        return Source(path, load(directory.resolved).spec, labels)
    return foreign_source(path)


def foreign_source(path: Path) -> Source:
    """As `source_of`, where it must be a foreign folder."""
    imported = read_folder(path)
    return Source(path, spec_of(imported), imported.labels, imported)


def existing(path: Path) -> None:
    """Raises CheckpointError unless something that can be opened is there; nothing of it is read."""
    if not is_foreign(path):
        refuse_code(path)
        existing_run(path)


def is_foreign(path: Path) -> bool:
    """Whether a path means a foreign folder and not a run."""
    return is_folder(path) and not RunDirectory(path).resolved.exists()


def habits_of(run: Path) -> Habits | None:
    """What the makers of a foreign folder, or of the folder that a run was imported from, say of writing."""
    folders = (run,) if is_foreign(run) else (run / format for format in FORMATS)
    return next((habits for folder in folders if (habits := read_habits(folder)) is not None), None)


def words_of_import(imported: Imported) -> dict[str, Any]:
    """The words of a run that was never trained: the folder's model and tasks, and what a run needs beside."""
    path = imported.folder.path.absolute()
    longest = max(4, min(imported.max_length, LONGEST))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name).strip("-._")[:100] or "imported"
    return {
        "name": name,
        "tokenizer": {"from": str(path)},
        "data": {"train": {"imported": str(path)}, "max_length": longest},
        "model": imported.model,
        "tasks": imported.tasks,
        "training": {
            "steps": 1,
            "batch_size": max(1, min(32, EVALUATED // longest)),
            "optimizer": {"kind": "adamw", "learning_rate": 1e-5},
        },
    }


def spec_of(imported: Imported) -> RunSpec:
    """The resolved words of a folder. Raises CheckpointError where its config asks for what no words can say."""
    where = str(imported.folder.path / CONFIG)
    spec, problems, _ = validate(_tree(words_of_import(imported), where))
    if spec is None or problems:
        raise CheckpointError(*dict.fromkeys(Problem(f"{imported.key_of(p.key)}: {p.what}", where=where) for p in problems))
    resolved = resolve(spec)[0]
    assert not isinstance(resolved.model, FromRun)
    wanted = sum(count(resolved.model, vocab_size=imported.vocab_size, max_length=resolved.data.max_length).values())
    held = sum(math.prod(tensor.shape) for tensor in imported.folder.tensors.values())
    if wanted > 4 * held + 10**6:  # before there is memory for any of it; smaller differences are told tensor by tensor
        raise CheckpointError(Problem(f"describes a model of {wanted:,} parameters, the files hold {held:,}", where=where))
    return resolved


def _tree(value: Any, at: str) -> Node:
    if isinstance(value, dict):
        return Node({key: _tree(entry, at) for key, entry in value.items()}, at, at)
    if isinstance(value, list | tuple):
        return Node([_tree(entry, at) for entry in value], at, at)
    return Node(value, at, at)
