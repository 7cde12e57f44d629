"""From a source's documents to the columns of a cache, in batches that keep the tokenizer busy and memory small."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.data.columns import ColumnWriter
from lmkit.data.document import Document
from lmkit.data.files import Stop
from lmkit.data.sources import read
from lmkit.data.spec import AnySource
from lmkit.errors import DataError, Interrupted, Problem
from lmkit.tasks.classification import label_order
from lmkit.text.sentences import split_sentences
from lmkit.text.tokenizer import Tokenizer

META = "cache.json"
BATCH = 2**21  # characters
Progress = Callable[[int, int], object]


def nothing(documents: int, tokens: int) -> None:
    return None


def tokenize(
    source: AnySource,
    tokenizer: Tokenizer,
    folder: Path,
    mark: str,
    needs_sentences: bool,
    *,
    base: Path,
    stop: Stop,
    progress: Progress,
) -> None:
    """Writes all columns and `cache.json` into `folder`, which is whole only when this returns."""
    roles = getattr(source, "columns", {})
    writer = _Writer(
        folder,
        tokenizer,
        sentence=source.sentence if needs_sentences else None,
        paired="text_pair" in roles,
        labelled="label" in roles,
    )
    try:
        for batch in _batches(read(source, base=base, stop=stop)):
            if stop():
                raise Interrupted("stopped while tokenizing; nothing is lost")
            writer.add(batch)
            progress(writer.count, writer.tokens.count)
        if not writer.count:
            skipped = ", ".join(f"{n} {reason}" for reason, n in writer.skipped.items()) or "none were there"
            raise DataError(Problem(f"no document is left to learn from ({skipped})", where=", ".join(writer.seen)))
        writer.finish(mark)
    finally:
        writer.close()


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    held: list[Document] = []
    size = 0
    for document in documents:
        held.append(document)
        size += len(document.text) + len(document.pair or "") + 64
        if size >= BATCH:
            yield held
            held, size = [], 0
    if held:
        yield held


class _Writer:
    """The columns while they grow."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, *, sentence: Any, paired: bool, labelled: bool) -> None:
        self.folder, self.tokenizer, self.sentence, self.labelled = folder, tokenizer, sentence, labelled
        ids = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
        types: dict[str, Any] = {"tokens": ids, "documents": np.int64, "file": np.int32, "line": np.int64}
        types |= {"sentences": np.int64} if sentence else {}
        types |= {"pair_tokens": ids, "pair_documents": np.int64} if paired else {}
        self.columns = {name: ColumnWriter(folder / f"{name}.npy", dtype) for name, dtype in types.items()}
        self.tokens = self.columns["tokens"]
        for name in ("documents", "sentences", "pair_documents"):
            if name in self.columns:
                self.columns[name].append(np.zeros(1, np.int64))
        self.labels: list[int] = []
        self.names: dict[str, int] = {}
        self.seen: dict[str, int] = {}  # files in the order of reading
        self.skipped: Counter[str] = Counter()
        self.bytes = self.count = self.open = 0
        self.begin: tuple[int, int] | None = None  # where the document began that is being read in parts

    def add(self, batch: Sequence[Document]) -> None:
        """Appends a batch; a document whose last part is yet to come is closed by a later batch."""
        pairs = self._encode([[d.pair or ""] for d in batch]) if "pair_tokens" in self.columns else None
        parts = [split_sentences(d.text, self.sentence) if self.sentence else [d.text] for d in batch]
        found = self._encode(parts)
        tokens: list[np.ndarray] = []
        pair_tokens: list[np.ndarray] = []
        lengths: list[int] = []
        places: list[tuple[int, int]] = []
        edges: list[int] = []
        at = self.tokens.count
        for i, d in enumerate(batch):
            file = self.seen.setdefault(d.file, len(self.seen))
            begin = self.begin or (file, d.line)
            blank = self.begin is None and not d.more and (d.text.isspace() or not sum(map(len, found[i])))
            if blank or (pairs is not None and ((d.pair or "").isspace() or not len(pairs[i][0]))):
                self.skipped["empty"] += 1
                continue
            tokens.extend(found[i])
            for sentence in found[i]:
                at += len(sentence)
                if len(sentence):
                    edges.append(at)
                self.open += len(sentence)
            self.bytes += len(d.text.encode()) + len((d.pair or "").encode())
            self.begin = begin if d.more else None
            if d.more:
                continue
            if not self.open:
                self.skipped["empty"] += 1
                continue
            lengths.append(self.open)
            places.append(begin)
            self.open = 0
            if pairs is not None:
                pair_tokens.append(pairs[i][0])
            if self.labelled:
                self.labels.append(self.names.setdefault(d.label or "", len(self.names)))
        self._append(tokens, pair_tokens, lengths, places, edges)

    def _append(
        self,
        tokens: list[np.ndarray],
        pair_tokens: list[np.ndarray],
        lengths: list[int],
        places: list[tuple[int, int]],
        edges: list[int],
    ) -> None:
        closed = self.tokens.count + sum(map(len, tokens)) - self.open
        if tokens:
            self.tokens.append(np.concatenate(tokens))
        self.columns["documents"].append(closed - sum(lengths) + np.cumsum(np.array(lengths, np.int64)))
        self.columns["file"].append(np.array([file for file, _ in places], np.int32))
        self.columns["line"].append(np.array([line for _, line in places], np.int64))
        if self.sentence:
            self.columns["sentences"].append(np.array(edges, np.int64))
        if "pair_tokens" in self.columns and pair_tokens:
            before = self.columns["pair_tokens"].count
            self.columns["pair_tokens"].append(np.concatenate(pair_tokens))
            self.columns["pair_documents"].append(before + np.cumsum([len(p) for p in pair_tokens]))
        self.count += len(lengths)

    def _encode(self, groups: list[list[str]]) -> list[list[np.ndarray]]:
        """Ids of each text of each group."""
        ids = iter(self.tokenizer.encode([text for group in groups for text in group], specials=False))
        return [list(islice(ids, len(group))) for group in groups]

    def finish(self, mark: str) -> None:
        names = sorted(self.names, key=label_order)
        if self.labelled:
            place = {self.names[name]: i for i, name in enumerate(names)}
            self.columns["labels"] = ColumnWriter(self.folder / "labels.npy", np.int32)
            self.columns["labels"].append(np.array([place[label] for label in self.labels], np.int32))
        meta = {
            "fingerprint": mark,
            "columns": {name: column.finish() for name, column in self.columns.items()},
            "label_names": names,
            "bytes": self.bytes,
            "skipped": dict(self.skipped),
            "files": list(self.seen),
        }
        with open(self.folder / META, "w", encoding="utf-8") as file:
            json.dump(meta, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        for column in self.columns.values():
            column.close()
