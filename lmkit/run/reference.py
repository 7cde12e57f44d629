"""What a model thought of every answer before it was taught which it should prefer: computed once, kept in the run."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmkit.data.batches import Batch, Batches, Evaluation
from lmkit.data.columns import ColumnWriter, Damaged, open_column
from lmkit.engine.tensorflow import as_numpy
from lmkit.errors import Interrupted
from lmkit.models.initialize import initialize
from lmkit.run.begin import begin
from lmkit.run.directory import RunDirectory
from lmkit.run.model import variables_of
from lmkit.run.open import OpenedRun
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.spec import DirectPreference
from lmkit.training.step import EvaluationStep

FOLDER, NOTE = "reference", "reference"
Tables = Mapping[str, np.ndarray]  # task to float32 [records, 2]: log probabilities of the better answer and of the worse one
Say = Callable[[str], None]


@dataclass(frozen=True)
class References:
    """The tables of the training records and of those for validation."""

    train: Tables
    validation: Tables


def preferring(spec: RunSpec) -> list[str]:
    """The tasks that need a reference."""
    return [name for name, task in spec.tasks.items() if isinstance(task, DirectPreference)]


def tables(step: EvaluationStep, batches: Sequence[Batch], names: Sequence[str], stop: Callable[[], bool] = lambda: False) -> Tables:
    """What the model as it is says of every record in the batches. Raises Interrupted once `stop()` is true."""
    found: dict[str, dict[int, np.ndarray]] = {name: {} for name in names}
    for i in range(len(batches)):
        if stop():
            raise Interrupted("stopped while the reference was computed; it begins again")
        batch = batches[i]
        there = [name for name in names if f"{name}/record" in batch]
        rows = step(batch) if there else {}
        for name in there:
            real = batch[f"{name}/weights"] > 0
            found[name] |= zip(batch[f"{name}/record"][real].tolist(), rows[name]["log_probabilities"][real], strict=True)
    return {name: _table(records) for name, records in found.items()}


def _table(records: Mapping[int, np.ndarray]) -> np.ndarray:
    table = np.zeros((max(records, default=-1) + 1, 2), np.float32)
    for record, values in records.items():
        table[record] = values
    return table


def with_reference(batch: Batch, tables: Tables) -> Batch:
    """The batch with what the tables say of its rows."""
    there = [name for name in tables if f"{name}/record" in batch]
    return batch | {f"{name}/reference": tables[name][batch[f"{name}/record"]] for name in there}


class Referred(Sequence[Batch]):
    """Batches for evaluation with what the tables say of their rows."""

    def __init__(self, batches: Evaluation, tables: Tables) -> None:
        self._batches, self._tables = batches, tables

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return with_reference(self._batches[index], self._tables)


def mark_of(weights: Mapping[str, np.ndarray], data: Mapping[str, str]) -> str:
    """Names the weights of a model and the data that it is asked about."""
    seen = hashlib.sha256("\n".join(f"{name} {mark}" for name, mark in sorted(data.items())).encode())
    for name in sorted(weights):
        seen.update(name.encode() + np.ascontiguousarray(weights[name]).tobytes())
    return seen.hexdigest()


def stored(run: RunDirectory, data: Mapping[str, str], say: Say, *, mark: str | None = None) -> References | None:
    """What the run has kept of data with these fingerprints: under this mark, or under any where it is None; nothing where that is not
    whole.
    """
    note = run.notes.get(NOTE)
    if note is None or mark not in (None, note["mark"]) or note.get("data") != data:
        return None
    found: dict[str, dict[str, np.ndarray]] = {"train": {}, "validation": {}}
    try:
        for part, name, path in _paths(note["columns"]):
            found[part][name] = open_column(run.path / FOLDER / path, note["columns"][path]).reshape(-1, 2)
    except Damaged as error:
        say(f"{error}; the reference is computed again")
        return None
    return References(**found)


def store(run: RunDirectory, mark: str, data: Mapping[str, str], references: References) -> None:
    """Writes every table as a column named after the mark, then notes them and the data that they tell of."""
    (run.path / FOLDER).mkdir(exist_ok=True)
    columns: dict[str, dict[str, Any]] = {}
    for part, found in (("train", references.train), ("validation", references.validation)):
        for name, table in found.items():
            path = f"{part}-{name}-{mark[:16]}.npy"
            writer = ColumnWriter(run.path / FOLDER / path, np.float32)
            writer.append(table.ravel())
            columns[path] = writer.finish()
    run.note(**{NOTE: {"mark": mark, "data": dict(data), "columns": columns}})


def _paths(columns: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The part, the task and the name of each column."""
    for path in columns:
        part, _, rest = path.partition("-")
        yield part, rest.rpartition("-")[0], path


def referred(step: EvaluationStep, batches: Batches, names: Sequence[str], stop: Callable[[], bool]) -> References:
    """The tables of all records that a run reads."""
    return References(tables(step, batches.once, names, stop), tables(step, batches.validation, names, stop))


def as_it_began(
    opened: OpenedRun, batches: Evaluation, step: EvaluationStep, *, data: Mapping[str, str], say: Say, stop: Callable[[], bool]
) -> Tables:  # fmt: skip
    """What the model of a run said of batches before it was trained: of those for validation it has kept that, while the `data` have the
    fingerprints that they had.

    Of others it is asked again, with the weights that it began with, and is then what it was.
    """
    names, variables = preferring(opened.spec), variables_of(opened.model)
    found = stored(opened.directory, data, say) if names else None
    if found is not None or not names:
        return found.validation if found else {}
    trained = {name: as_numpy(variable) for name, variable in variables.items()}
    initialize(opened.model, opened.spec.seed)
    begin(opened.spec, opened.model, variables, vocab_size=opened.tokenizer.vocab_size, say=say)
    asked = tables(step, batches, names, stop)
    for name, variable in variables.items():
        variable.assign(trained[name])
    return asked
