"""The plan of one epoch: which rows there are, in which batches, at which lengths; a pure function of (seed, epoch)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never
from zlib import crc32

import numpy as np

from lmkit.counting import mix
from lmkit.data.buckets import deal
from lmkit.data.choices import choice_rows, choice_spans
from lmkit.data.documents import Documents
from lmkit.data.layout import Corpus, Layout, piece_extra, record_rows, token_rows, widths
from lmkit.data.order import Mixture, permutation
from lmkit.data.packing import packed_rows, single_rows
from lmkit.data.pairs import order_rows, pair_rows, plan_chunks
from lmkit.data.preferences import preference_rows
from lmkit.data.prompts import prompt_rows
from lmkit.data.rows import Rows, join_rows
from lmkit.data.sides import side_rows
from lmkit.data.twins import twin_rows
from lmkit.data.windows import Windows, part_rows, window_rows
from lmkit.text.template import Template, Truncate

NOTHING = np.full(1, -1)  # stands for a column that says nothing


@dataclass(frozen=True)
class RowSource:
    """Rows of one source. `rows(seed, epoch)` gives `count` of them in every epoch; `fixed` those that no seed moves."""

    count: int
    rows: Callable[[int, int], Rows]
    fixed: Rows


@dataclass(frozen=True)
class Plan:
    """Batch i is rows order[edges[i]:edges[i + 1]] of `rows`, laid at lengths[i]."""

    rows: Rows
    order: np.ndarray
    edges: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, index: int) -> tuple[Rows, int]:
        return self.rows.take(self.order[self.edges[index] : self.edges[index + 1]]), int(self.lengths[index])


# Layouts that read a second text of each record, and its role.
SECOND = {"records": "pair", "windows": "pair", "sides": "target", "prompts": "target", "preferences": "pair", "twins": "pair"}


def span_table(sources: Sequence[Documents], layout: Layout, columns: Mapping[str, Sequence[np.ndarray]]) -> tuple[Corpus, list[int]]:
    """The documents of all sources as spans, each source's second texts behind its first ones; and each source's first span.

    `columns` have an array a source, for the tokens of its first texts; a cache may have another for its pairs.
    """
    stores: list[np.ndarray] = []
    begins, ends, store, firsts, total = [], [], [], [], 0
    wide: dict[str, list[np.ndarray]] = {name: [] for name in columns}
    for number, source in enumerate(sources):
        firsts.append(total)
        spans = [(np.asarray(source.cache.tokens), source.begin, source.end)]
        if layout == "choices":
            spans.append(choice_spans(source)[:3])
        elif other := source.cache.text(SECOND.get(layout, "")):
            tokens, edges = other
            spans.append((tokens, edges[source.number], edges[source.number + 1]))
        for which, (tokens, begin, end) in enumerate(spans):
            for name, arrays in columns.items():
                wide[name].append(arrays[number] if which == 0 else np.asarray(source.cache.more.get(f"pair_{name}", NOTHING)))
            store.append(np.full(len(begin), len(stores)))
            stores.append(tokens if len(tokens) else np.zeros(1, np.uint16))
            begins.append(begin)
            ends.append(end)
            total += len(begin)
    return Corpus(stores, np.concatenate(store), np.concatenate(begins), np.concatenate(ends), wide), firsts


def row_source(
    documents: Documents,
    layout: Layout,
    template: Template,
    *,
    packing: bool,
    max_length: int,
    target_length: int,
    windows: Windows | None,
    truncate: Truncate,
    first: int,
    record: int,
) -> RowSource:
    """`first` is the number of the source's first span, `record` that of its first record."""

    def numbered(rows: Rows, mark: int = 0) -> Rows:
        return Rows(rows.offsets, rows.document + first, rows.start, rows.length, rows.mark + mark)

    match layout:
        case "pairs" | "ordered":
            chunks = plan_chunks(documents, max_length - template.pair.extra, mixed=layout == "pairs")
            pairs = pair_rows if layout == "pairs" else order_rows

            def planned(seed: int, epoch: int) -> Rows:
                return numbered(pairs(chunks, documents, seed, epoch))

            return RowSource(len(chunks), planned, planned(0, 0))
        case "records":
            first_lengths, other = documents.lengths, second_lengths(documents, layout)
            if windows is None:
                rows = record_rows(first_lengths, other, max_length, template, truncate)
            elif other is None:
                rows = part_rows(first_lengths, max_length, template, windows)
            else:
                rows = window_rows(first_lengths, other, max_length, template, windows)
            return _same(numbered(rows, record))
        case "sides" | "prompts":
            make_rows, second = side_rows if layout == "sides" else prompt_rows, second_lengths(documents, layout)
            assert second is not None
            return _same(numbered(make_rows(documents.lengths, second, max_length, target_length, template), record))
        case "windows":
            texts = second_lengths(documents, layout)
            assert texts is not None and windows is not None
            return _same(numbered(window_rows(documents.lengths, texts, max_length, template, windows), record))
        case "preferences":
            return _same(numbered(preference_rows(documents, max_length), record))
        case "choices":
            return _same(numbered(choice_rows(documents, max_length, template), record))
        case "twins" | "twice":
            return _same(numbered(twin_rows(documents.lengths, second_lengths(documents, layout), max_length, template), record))
        case "tokens":
            return _same(numbered(token_rows(documents.lengths, max_length, template), record))
        case "causal" | "masked" | "raw":
            make, extra = (packed_rows if packing else single_rows), piece_extra(layout, template)
            fixed = numbered(make(documents.lengths, max_length, extra, None))
            count = len(fixed) if not packing else len(make(documents.lengths, max_length, extra, (0, 0)))
            return RowSource(count, lambda seed, epoch: numbered(make(documents.lengths, max_length, extra, (seed, epoch))), fixed)
        case _:
            assert_never(layout)


def second_lengths(documents: Documents, layout: Layout) -> np.ndarray | None:
    """Tokens of each record's second text, None where there is none."""
    other = documents.cache.text(SECOND.get(layout, ""))
    return None if other is None else np.diff(other[1])[documents.number]


def _same(rows: Rows) -> RowSource:
    """The same rows in every epoch."""
    return RowSource(len(rows), lambda seed, epoch: rows, rows)


class Epochs:
    """Training rows of some sources, epoch after epoch.

    Without weights an epoch is every row of every source once. With weights it is as many rows, of which each source gives
    exactly its share; a source then runs through its own epochs, faster or slower.
    """

    def __init__(
        self,
        sources: dict[str, RowSource],
        weights: Sequence[float] | None,
        layout: Layout,
        template: Template,
        *,
        seed: int,
        buckets: tuple[int, ...],
        batch_size: int,
    ) -> None:
        self.sources = list(sources.values())
        self.seeds = [mix(seed, crc32(f"{layout}/{name}".encode())) for name in sources]
        self.seed = mix(seed, crc32(layout.encode()))
        self.mixture = Mixture(weights, self.seed) if weights and len(weights) > 1 else None
        self.layout, self.template, self.buckets, self.batch_size = layout, template, buckets, batch_size
        self.count = sum(source.count for source in self.sources)
        self.steps = -(-self.count // batch_size)

    def plan(self, epoch: int) -> Plan:
        rows, order = self._mixed(epoch) if self.mixture else self._pooled(epoch)
        dealt, edges, lengths = deal(widths(rows, self.layout, self.template)[order], self.buckets, self.batch_size)
        batches = permutation(mix(self.seed, 1), epoch, self.steps)
        sizes = np.diff(edges)[batches]
        new_edges = np.concatenate([[0], np.cumsum(sizes)])
        index = np.repeat(edges[:-1][batches] - new_edges[:-1], sizes) + np.arange(self.count)
        return Plan(rows, order[dealt[index]], new_edges, lengths[batches])

    def _pooled(self, epoch: int) -> tuple[Rows, np.ndarray]:
        rows = join_rows([source.rows(seed, epoch) for source, seed in zip(self.sources, self.seeds, strict=True)])
        return rows, permutation(self.seed, epoch, self.count)

    def _mixed(self, epoch: int) -> tuple[Rows, np.ndarray]:
        assert self.mixture is not None
        stream, within = self.mixture.locate(epoch * self.count + np.arange(self.count))
        parts: list[Rows] = []
        order, total = np.empty(self.count, np.int64), 0
        for k, (source, seed) in enumerate(zip(self.sources, self.seeds, strict=True)):
            draws = np.flatnonzero(stream == k)
            rounds, number = within[draws] // source.count, within[draws] % source.count
            for own_epoch in np.unique(rounds):
                now = rounds == own_epoch
                parts.append(source.rows(seed, int(own_epoch)))
                order[draws[now]] = total + permutation(seed, int(own_epoch), source.count, number[now])
                total += source.count
        return join_rows(parts), order


def fixed_plan(sources: Sequence[RowSource], layout: Layout, template: Template, buckets: tuple[int, ...], batch_size: int) -> Plan:
    """Every row of every source once, in an order that no seed moves: for evaluation."""
    rows = join_rows([source.fixed for source in sources])
    return Plan(rows, *deal(widths(rows, layout, template), buckets, batch_size))
