"""The plan of one epoch: which rows there are, in which batches, at which lengths; a pure function of (seed, epoch)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from lmkit.data.buckets import deal
from lmkit.data.documents import Documents
from lmkit.data.layout import Corpus, Layout, piece_extra, record_rows, widths
from lmkit.data.order import Mixture, mix, permutation
from lmkit.data.packing import packed_rows, single_rows
from lmkit.data.pairs import pair_rows, plan_chunks
from lmkit.data.rows import Rows, join_rows
from lmkit.text.template import Template


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


def span_table(sources: Sequence[Documents], layout: Layout) -> tuple[Corpus, list[int]]:
    """The documents of all sources as spans, each source's pairs behind its texts; and each source's first span."""
    stores: list[np.ndarray] = []
    begins, ends, store, firsts, total = [], [], [], [], 0
    for source in sources:
        firsts.append(total)
        spans = [(np.asarray(source.cache.tokens), source.begin, source.end)]
        if layout == "records" and source.cache.pair_tokens is not None:
            edges = np.asarray(source.cache.pair_documents, np.int64)
            spans.append((np.asarray(source.cache.pair_tokens), edges[source.number], edges[source.number + 1]))
        for tokens, begin, end in spans:
            store.append(np.full(len(begin), len(stores)))
            stores.append(tokens if len(tokens) else np.zeros(1, np.uint16))
            begins.append(begin)
            ends.append(end)
            total += len(begin)
    return Corpus(stores, np.concatenate(store), np.concatenate(begins), np.concatenate(ends)), firsts


def row_source(
    documents: Documents, layout: Layout, template: Template, *, packing: bool, max_length: int, first: int, labels: np.ndarray | None
) -> RowSource:
    """`first` is the source's first span; `labels` the label of each of its documents (records only)."""
    if layout == "pairs":
        chunks = plan_chunks(documents, max_length - template.pair.extra)

        def planned(seed: int, epoch: int) -> Rows:
            return _numbered(pair_rows(chunks, documents, seed, epoch), first)

        return RowSource(len(chunks), planned, planned(0, 0))
    if layout == "records":
        paired = documents.cache.pair_tokens is not None
        lengths = documents.lengths
        if paired:
            edges = np.asarray(documents.cache.pair_documents, np.int64)
            lengths = np.concatenate([lengths, edges[documents.number + 1] - edges[documents.number]])
        rows = _numbered(record_rows(lengths, len(documents), paired, max_length, template), first, labels)
        return RowSource(len(rows), lambda seed, epoch: rows, rows)
    make, extra = (packed_rows if packing else single_rows), piece_extra(layout, template)
    fixed = _numbered(make(documents.lengths, max_length, extra, None), first)
    count = len(fixed) if not packing else len(make(documents.lengths, max_length, extra, (0, 0)))
    return RowSource(count, lambda seed, epoch: _numbered(make(documents.lengths, max_length, extra, (seed, epoch)), first), fixed)


def _numbered(rows: Rows, first: int, labels: np.ndarray | None = None) -> Rows:
    return Rows(rows.offsets, rows.document + first, rows.start, rows.length, rows.label if labels is None else labels)


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
