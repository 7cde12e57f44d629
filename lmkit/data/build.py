"""The door of the data room: from words and caches to batches."""

from collections.abc import Mapping, Sequence

import numpy as np

from lmkit.data.batches import Batches, Evaluation, Stream
from lmkit.data.buckets import plan_buckets
from lmkit.data.cache import Cache
from lmkit.data.documents import Documents, all_documents, hold_out
from lmkit.data.groups import Group, group_tasks
from lmkit.data.layout import Layout, widths
from lmkit.data.order import mix
from lmkit.data.plans import Epochs, fixed_plan, row_source, span_table
from lmkit.data.spec import Data, Holdout
from lmkit.errors import DataError, Problem, SpecError
from lmkit.tasks.classification import label_names, label_table
from lmkit.tasks.features import Features, features
from lmkit.tasks.spec import AnyTask, Classification
from lmkit.text.template import Template
from lmkit.text.tokenizer import Tokenizer


def shortest(layout: Layout, template: Template) -> int:
    """Cells that a row needs at least."""
    single, pair = (frame.extra for frame in template.frames)
    return {"causal": 1, "masked": single + 1, "records": pair + 1, "pairs": pair + 5}[layout]


def build_batches(
    data: Data,
    tasks: Mapping[str, AnyTask],
    tokenizer: Tokenizer,
    train: Mapping[str, Cache],
    validation: Cache | None = None,
    *,
    seed: int,
    batch_size: int,
) -> Batches:
    """Everything that training reads. `train` has one cache for each name in data.train; `validation` is the cache of
    data.validation where that is a source (a holdout is taken out of `train` here).

    Raises DataError where a task finds nothing to learn from, fewer rows than one batch, or a label it does not know; SpecError
    where rows are too short for a task.
    """
    pool = {name: all_documents(name, cache) for name, cache in train.items()}
    held: dict[str, Documents] = {}
    if isinstance(data.validation, Holdout):
        split = {name: hold_out(documents, data.validation.holdout) for name, documents in pool.items()}
        pool, held = {name: kept for name, (kept, _) in split.items()}, {name: out for name, (_, out) in split.items()}
    elif validation is not None:
        held = {"validation": all_documents("validation", validation)}
    labels = {
        name: label_names(task.labels, [n for s in _read(pool, task.data) for n in s.cache.label_names or ()], f"tasks.{name}.labels")
        for name, task in tasks.items()
        if isinstance(task, Classification)
    }
    groups = group_tasks(tasks)
    streams = [_stream(group, data, tasks, tokenizer, pool, labels, batch_size) for group in groups]
    loose = [
        widths(source.fixed, stream.group.layout, tokenizer.template)
        for stream in streams
        for source in stream.sources.values()
        if not _packed(stream.group, data)
    ]
    buckets = plan_buckets(np.concatenate(loose), data.max_length, data.buckets) if loose else (data.max_length,)
    epochs = [
        Epochs(
            stream.sources,
            _weights(data, stream),
            stream.group.layout,
            tokenizer.template,
            seed=mix(seed, i),
            buckets=buckets,
            batch_size=batch_size,
        )
        for i, stream in enumerate(streams)
    ]
    for each, group in zip(epochs, groups, strict=True):
        if each.count < batch_size:
            what = f"{', '.join(group.tasks)}: {each.count} rows are fewer than one batch of {batch_size}"
            raise DataError(Problem(f"{what}; lower it to {max(each.count, 1)} or less, or add text", "training.batch_size"))
    return Batches(
        streams, epochs, _evaluation(groups, data, tasks, tokenizer, held, labels, buckets, batch_size), seed=seed, labels=labels
    )


def evaluation_batches(
    data: Data,
    tasks: Mapping[str, AnyTask],
    tokenizer: Tokenizer,
    sources: Mapping[str, Cache],
    *,
    labels: Mapping[str, tuple[str, ...]],
    buckets: tuple[int, ...],
    batch_size: int,
) -> Evaluation:
    """Fixed batches over other caches, for a trained model: `labels` and `buckets` are those of its Batches."""
    held = {name: all_documents(name, cache) for name, cache in sources.items()}
    return _evaluation(group_tasks(tasks), data, tasks, tokenizer, held, labels, buckets, batch_size)


def _evaluation(
    groups: Sequence[Group],
    data: Data,
    tasks: Mapping[str, AnyTask],
    tokenizer: Tokenizer,
    held: Mapping[str, Documents],
    labels: Mapping[str, tuple[str, ...]],
    buckets: tuple[int, ...],
    batch_size: int,
) -> Evaluation:
    if not held:
        return Evaluation([])
    streams = [_stream(group, data, tasks, tokenizer, held, labels, batch_size) for group in groups]
    return Evaluation([(s, fixed_plan(list(s.sources.values()), s.group.layout, tokenizer.template, buckets, batch_size)) for s in streams])


def _read(pool: Mapping[str, Documents], source: str | None) -> list[Documents]:
    """The sources that a task bound to `source` reads; validation from one file serves every binding."""
    return [pool[source]] if source is not None and source in pool else list(pool.values())


def _packed(group: Group, data: Data) -> bool:
    return group.layout in ("causal", "masked") and data.packing is not False


def _weights(data: Data, stream: Stream) -> list[float] | None:
    found = [data.train[name].weight for name in stream.sources]
    given = [weight for weight in found if weight is not None]
    return given if len(given) == len(found) else None


def _stream(
    group: Group,
    data: Data,
    tasks: Mapping[str, AnyTask],
    tokenizer: Tokenizer,
    pool: Mapping[str, Documents],
    labels: Mapping[str, tuple[str, ...]],
    batch_size: int,
) -> Stream:
    template = tokenizer.template
    if group.layout == "causal":
        tokenizer.require("eos", ", ".join(group.tasks))
    if group.layout == "pairs" and not template.pair.gaps[1]:
        raise SpecError(Problem(f"{group.tasks[0]} needs a token between two texts, and this tokenizer puts none there", "tokenizer"))
    if data.max_length < shortest(group.layout, template):
        least = shortest(group.layout, template)
        raise SpecError(Problem(f"{data.max_length} is too short for {group.tasks[0]}; write {least} or more", "data.max_length"))
    documents = _read(pool, group.source)
    corpus, firsts = span_table(documents, group.layout)
    names: dict[str, str] = {}
    numbers: Sequence[np.ndarray | None] = [None] * len(documents)
    if group.layout == "records":
        names, numbers = _labels(documents, group)
    made: dict[str, Features] = {}
    for name in group.tasks:
        table = None
        if isinstance(tasks[name], Classification):
            table = label_table(labels[name], list(names), key=f"tasks.{name}.labels", where=list(names.values()))
        made[name] = features(tasks[name], tokenizer, table=table)
    packing = _packed(group, data)
    sources = {
        each.name: row_source(each, group.layout, template, packing=packing, max_length=data.max_length, first=first, labels=number)
        for each, first, number in zip(documents, firsts, numbers, strict=True)
    }
    empty = [name for name, source in sources.items() if not source.count]
    if empty:
        raise DataError(Problem(f"{', '.join(group.tasks)}: source {empty[0]} gives no rows", "data"))
    return Stream(group, corpus, sources, made, tokenizer, batch_size)


def _labels(documents: Sequence[Documents], group: Group) -> tuple[dict[str, str], list[np.ndarray]]:
    """Label names in use, each with the place where it stands first, and for each source its documents' places in that list."""
    names: dict[str, str] = {}
    numbers = []
    for source in documents:
        task = f"tasks.{group.tasks[0]}"
        if source.cache.labels is None:
            raise DataError(Problem(f"source {source.name} has no labels; name its field in columns: {{label: ...}}", task))
        labels = np.asarray(source.cache.labels, np.int64)[source.number]
        table = np.zeros(len(source.cache.label_names), np.int64)
        for label, first in zip(*np.unique(labels, return_index=True), strict=True):
            name = source.cache.label_names[label]
            names.setdefault(name, source.cache.where(int(source.number[first])))
            table[label] = list(names).index(name)
        numbers.append(table[labels])
    return names, numbers
