"""The door of the data room: from words and caches to batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lmkit.counting import mix
from lmkit.data.batches import Batches, Evaluation, Stream
from lmkit.data.buckets import plan_buckets
from lmkit.data.cache import Cache
from lmkit.data.documents import Documents, all_documents, hold_out
from lmkit.data.examples import COLUMNS, examples
from lmkit.data.groups import Group, group_tasks
from lmkit.data.layout import BARE, Layout, widths
from lmkit.data.plans import Epochs, fixed_plan, row_source, span_table
from lmkit.data.prompts import prompting
from lmkit.data.spec import Data, Holdout
from lmkit.errors import DataError, Problem, SpecError
from lmkit.tasks.classification import label_names
from lmkit.tasks.features import Features, features
from lmkit.tasks.spec import AnyTask, Labelled
from lmkit.text.template import Template
from lmkit.text.tokenizer import Tokenizer


def shortest(layout: Layout, template: Template) -> int:
    """Cells that a row needs at least."""
    single, pair = (frame.extra for frame in template.frames)
    least: dict[Layout, int] = {
        "causal": 1,
        "masked": single + 1,
        "pairs": pair + 5,
        "ordered": pair + 5,
        "records": pair + 1,
        "tokens": single + 1,
        "sides": single + 1,
        "windows": pair + 4,
        "choices": 2 * (pair + 2),
        "raw": single + 2,
        "prompts": pair + 2,
        "preferences": 4,
        "twins": 2 * (single + 1),
        "twice": 2 * (single + 1),
    }
    return least[layout]


def build_batches(
    data: Data,
    tasks: Mapping[str, AnyTask],
    tokenizer: Tokenizer,
    train: Mapping[str, Cache],
    validation: Cache | None = None,
    *,
    seed: int,
    batch_size: int,
    start: int | None = None,
) -> Batches:
    """Everything that training reads. `train` has one cache for each name in data.train; `validation` is the cache of
    data.validation where that is a source (a holdout is taken out of `train` here). `start` is the token that a decoder beside
    an encoder begins with.

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
        name: label_names(task.labels, _names(_read(pool, task.data), task.roles), f"tasks.{name}.labels")
        for name, task in tasks.items()
        if isinstance(task, Labelled)
    }
    groups = group_tasks(tasks, sided=start is not None)
    streams = [_stream(group, data, tasks, tokenizer, pool, labels, batch_size, start, weigh=True) for group in groups]
    loose = [
        widths(source.fixed, stream.group.layout, stream.template)
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
            stream.template,
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
    return Batches(streams, epochs, _evaluation(data, tasks, tokenizer, held, labels, buckets, batch_size, start), seed=seed, labels=labels)


def evaluation_batches(
    data: Data,
    tasks: Mapping[str, AnyTask],
    tokenizer: Tokenizer,
    sources: Mapping[str, Cache],
    *,
    labels: Mapping[str, tuple[str, ...]],
    buckets: tuple[int, ...],
    batch_size: int,
    start: int | None = None,
) -> Evaluation:
    """Fixed batches over other caches, for a trained model: `labels` and `buckets` are those of its Batches."""
    held = {name: all_documents(name, cache) for name, cache in sources.items()}
    return _evaluation(data, tasks, tokenizer, held, labels, buckets, batch_size, start)


def _evaluation(
    data: Data,
    tasks: Mapping[str, AnyTask],
    tokenizer: Tokenizer,
    held: Mapping[str, Documents],
    labels: Mapping[str, tuple[str, ...]],
    buckets: tuple[int, ...],
    batch_size: int,
    start: int | None,
) -> Evaluation:
    """Batches of the tasks that the held records tell of."""
    if not held:
        return Evaluation([])
    groups = group_tasks({name: task for name, task in tasks.items() if not data.untold(task.roles)}, sided=start is not None)
    streams = [_stream(group, data, tasks, tokenizer, held, labels, batch_size, start) for group in groups]
    return Evaluation([(s, fixed_plan(list(s.sources.values()), s.group.layout, s.template, buckets, batch_size)) for s in streams])


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
    start: int | None,
    *,
    weigh: bool = False,
) -> Stream:
    template = tokenizer.template if start is None else tokenizer.template.behind(start)
    if group.layout == "prompts":
        template = prompting(template, tokenizer.encode([group.separator], specials=False)[0])
    if group.layout in (*BARE, "prompts"):
        tokenizer.require("eos", ", ".join(group.tasks))
    if group.layout in ("pairs", "ordered") and not template.pair.gaps[1]:
        raise SpecError(Problem(f"{group.tasks[0]} needs a token between two texts, and this tokenizer puts none there", "tokenizer"))
    if data.max_length < shortest(group.layout, template):
        least = shortest(group.layout, template)
        raise SpecError(Problem(f"{data.max_length} is too short for {group.tasks[0]}; write {least} or more", "data.max_length"))
    documents = _read(pool, group.source)
    roles = list(dict.fromkeys(role for name in group.tasks for role in tasks[name].roles))
    heeded = dict.fromkeys(column for name in group.tasks for column in tasks[name].heeds)
    said, columns = examples(documents, roles, f"tasks.{group.tasks[0]}", heeded=list(heeded))
    corpus, firsts = span_table(documents, group.layout, columns)
    room = data.max_length - template.single.extra
    made: dict[str, Features] = {
        name: features(
            tasks[name], tokenizer, examples=said, labels=labels.get(name, ()), key=f"tasks.{name}", weigh=weigh, start=start, room=room
        )
        for name in group.tasks
    }
    shape: dict[str, Any] = {"packing": _packed(group, data), "max_length": data.max_length, "target_length": data.target_length}
    shape |= {"windows": group.windows, "truncate": group.truncate}
    records = np.cumsum([0, *map(len, documents)])
    sources = {
        each.name: row_source(each, group.layout, template, first=first, record=int(record), **shape)
        for each, first, record in zip(documents, firsts, records, strict=False)
    }
    empty = [name for name, source in sources.items() if not source.count]
    if empty:
        fix = "give it longer texts, or the tasks another source with data: ..."
        raise DataError(Problem(f"{', '.join(group.tasks)}: source {empty[0]} gives no rows; {fix}", "data"))
    return Stream(group, corpus, sources, made, tokenizer, template, batch_size, data.target_length)


def _names(documents: Sequence[Documents], roles: Sequence[str]) -> list[str]:
    """All labels that the sources have for the roles."""
    columns = [column for role in roles for column in COLUMNS[role]]
    return [name for source in documents for column in columns for name in source.cache.names.get(column, ())]
