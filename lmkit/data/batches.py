"""Batches: arrays that are a pure function of (seed, step), for training, and a fixed list, for evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lmkit.counting import mix
from lmkit.data.groups import Group
from lmkit.data.layout import Corpus, cells, lay
from lmkit.data.order import Mixture, row_keys
from lmkit.data.plans import Epochs, Plan, RowSource, fixed_plan
from lmkit.data.rows import Rows
from lmkit.data.sides import lay_sides
from lmkit.tasks.features import Features
from lmkit.tasks.rows import TokenRows
from lmkit.text.template import Template
from lmkit.text.tokenizer import Tokenizer

Batch = dict[str, np.ndarray]
VALIDATION = 0x56414C49
BODY = ("prefix_length",)  # what the body reads, of any task
DECODER = "decoder/"  # begins what the decoder beside an encoder reads


@dataclass(frozen=True)
class Stream:
    """A group of tasks over some sources: everything but the choice of rows."""

    group: Group
    corpus: Corpus
    sources: dict[str, RowSource]
    features: dict[str, Features]
    tokenizer: Tokenizer
    template: Template
    batch_size: int
    target_length: int

    def batch(self, plan: Plan, index: int, row_key: np.ndarray) -> Batch:
        rows, width = plan.batch(index)
        made = self._laid(rows, batch_size=self.batch_size, width=width, row_key=row_key)
        batch: Batch = {
            "tokens": made.tokens,
            "segments": made.segments,
            "positions": made.positions,
            "token_types": made.token_types,
            "row_key": made.row_key,
        }
        for name, make in self.features.items():
            for key, value in make(made).items():
                batch[key if key in batch or key in BODY or key.startswith(DECODER) else f"{name}/{key}"] = value
            weights = batch[f"{name}/weights"]
            batch[f"{name}/denominator"] = np.maximum(weights.sum(dtype=np.float32), np.float32(1e-9)).reshape(())
        return batch

    def room(self, width: int) -> int:
        """Cells of a batch of rows of `width`, those of both sides where there are two."""
        return self.batch_size * (width + min(width, self.target_length) if self.group.layout == "sides" else width)

    def _laid(self, rows: Rows, **shape: Any) -> TokenRows:
        if self.group.layout == "sides":
            return lay_sides(rows, self.corpus, self.tokenizer, self.template, target_width=self.target_length, **shape)
        return lay(rows, self.corpus, self.tokenizer, self.group.layout, self.template, **shape)


class Evaluation(Sequence[Batch]):
    """Fixed batches: the same rows, the same hidden tokens, at any step of any run."""

    def __init__(self, streams: Sequence[tuple[Stream, Plan]]) -> None:
        self._streams = streams
        self._places = [(i, k) for i, (_, plan) in enumerate(streams) for k in range(len(plan))]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        which, number = self._places[index]
        stream, plan = self._streams[which]
        return stream.batch(plan, number, row_keys(mix(VALIDATION, which), number, stream.batch_size))

    @property
    def shapes(self) -> set[int]:
        return {int(length) for _, plan in self._streams for length in plan.lengths}

    def describe(self) -> list[dict[str, Any]]:
        return [_describe(s, plan, {name: len(source.fixed) for name, source in s.sources.items()}) for s, plan in self._streams]


class Batches:
    """Training batches by step and validation batches by number.

    `labels` names the labels of each classification task; `buckets` are the row lengths that may occur, `shapes` those that do.
    """

    def __init__(
        self, streams: Sequence[Stream], epochs: Sequence[Epochs], validation: Evaluation, *, seed: int, labels: dict[str, tuple[str, ...]]
    ) -> None:
        self._streams, self._epochs, self._seed = streams, epochs, seed
        self._plans = [lru_cache(maxsize=2)(each.plan) for each in epochs]
        self._turns = Mixture([1.0] * len(streams), mix(seed, 2)) if len(streams) > 1 else None
        self.validation, self.labels = validation, labels
        self.buckets = epochs[0].buckets
        self.batch_size = streams[0].batch_size
        self.steps_per_epoch: int = sum(each.steps for each in epochs)

    def train(self, step: int) -> Batch:
        """The batch of a step (0 is the first), all rows of it, whatever was asked for before."""
        which, epoch, index = self._place(step)
        return self._streams[which].batch(self._plans[which](epoch), index, row_keys(self._seed, step, self.batch_size))

    def documents(self, step: int) -> list[list[int]]:
        """What each row of a step is made of: the numbers of its texts among those of all sources, second texts behind first ones."""
        which, epoch, index = self._place(step)
        rows, _ = self._plans[which](epoch).batch(index)
        return [part.tolist() for part in np.split(rows.document, rows.offsets[1:-1])]

    def tasks_of(self, step: int) -> tuple[str, ...]:
        """The tasks that have a part in a step."""
        return self._streams[self._place(step)[0]].group.tasks

    def _place(self, step: int) -> tuple[int, int, int]:
        """Where a step's batch is: stream, epoch, and its number in that."""
        which, number = self._turns.locate(step) if self._turns else (0, step)
        return which, *divmod(number, self._epochs[which].steps)

    @property
    def once(self) -> Evaluation:
        """Every training row once, in batches that no seed moves."""
        streams = self._streams
        return Evaluation(
            [(s, fixed_plan(list(s.sources.values()), s.group.layout, s.template, self.buckets, s.batch_size)) for s in streams]
        )

    @property
    def tokens_per_step(self) -> float:
        """Mean tokens of a step, padding not counted, special tokens counted."""
        return float(np.mean([self._cells(i) / each.steps for i, each in enumerate(self._epochs)]))

    @property
    def shapes(self) -> set[int]:
        """Row lengths of the first epoch and of validation; later epochs stay within `buckets`."""
        return {int(n) for plan in self._plans for n in plan(0).lengths} | self.validation.shapes

    def describe(self) -> dict[str, Any]:
        """Counts for `lmkit data`: rows, tokens, padding share and batches by length, for each group of tasks."""
        return {
            "buckets": list(self.buckets),
            "steps_per_epoch": self.steps_per_epoch,
            "tokens_per_step": self.tokens_per_step,
            "train": [
                _describe(s, plan(0), {name: source.count for name, source in s.sources.items()})
                for s, plan in zip(self._streams, self._plans, strict=True)
            ],
            "validation": self.validation.describe(),
            "labels": {name: list(names) for name, names in self.labels.items()},
        }

    def _cells(self, which: int) -> int:
        return _cells(self._streams[which], self._plans[which](0))


def _cells(stream: Stream, plan: Plan) -> int:
    return int(cells(plan.rows, stream.group.layout, stream.template)[plan.order].sum())


def _describe(stream: Stream, plan: Plan, rows: dict[str, int]) -> dict[str, Any]:
    tokens = _cells(stream, plan)
    room = sum(map(stream.room, plan.lengths.tolist()))
    used, batches = np.unique(plan.lengths, return_counts=True)
    return {
        "tasks": list(stream.group.tasks),
        "layout": stream.group.layout,
        "sources": rows,
        "rows": len(plan.order),
        "tokens": tokens,
        "padding": 1 - tokens / max(room, 1),
        "batches": {int(length): int(count) for length, count in zip(used, batches, strict=True)},
    }


def slice_batch(batch: Batch, start: int, stop: int) -> Batch:
    """Rows start:stop of every array (views); denominators stay those of the whole batch."""
    return {key: value[start:stop] if value.ndim else value for key, value in batch.items()}
