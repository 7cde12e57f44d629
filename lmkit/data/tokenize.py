"""From a source's documents to the columns of a cache, in batches that keep the tokenizer busy and memory small."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace as with_
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.data.annotations import ALIGNED, Remarking, annotations
from lmkit.data.answers import placed
from lmkit.data.choice_columns import COLUMNS as CHOICES
from lmkit.data.choice_columns import add_choices
from lmkit.data.columns import ColumnWriter
from lmkit.data.conversations import Told, told
from lmkit.data.document import Document, numbered
from lmkit.data.files import Stop
from lmkit.data.roles import SEPARATOR, conversational
from lmkit.data.sources import read
from lmkit.data.spec import AnySource, Questions
from lmkit.errors import DataError, Interrupted, Problem
from lmkit.text.chat_templates import require_chat
from lmkit.text.sentences import split_sentences
from lmkit.text.tokenizer import Tokenizer

META = "cache.json"
BATCH = 2**21  # characters
Progress = Callable[[int, int], object]
Tell = Callable[[Document], Told]  # writes the conversations of a document
Numbered = tuple[int, Document]  # with its place among all that the source gives


UNKNOWN = np.zeros((0, 2), np.int32)  # where tokens stand, when nobody asks
NO_IDS = np.zeros(0, np.int32)
OTHERS = {"text_pair": "pair", "rejected": "pair", "target": "target"}  # roles of texts beside the first, and what their columns are called


def nothing(documents: int, tokens: int) -> None:
    return None


def tokenize(
    source: AnySource,
    tokenizer: Tokenizer,
    folder: Path,
    mark: str,
    needs_sentences: bool,
    *,
    prefix: str = "",
    base: Path,
    stop: Stop,
    progress: Progress,
) -> None:
    """Writes all columns and `cache.json` into `folder`, which is whole only when this returns."""
    roles = getattr(source, "columns", {})
    chat = partial(told, chat=require_chat(tokenizer), train_on=getattr(source, "train_on", "all")) if conversational(roles) else None
    separator = getattr(source, "label_separator", SEPARATOR)
    sentence = source.sentence if needs_sentences else None
    writer = _Writer(folder, tokenizer, sentence=sentence, roles=tuple(roles), tell=chat, separator=separator)
    try:
        documents = _placed(numbered(read(source, base=base, stop=stop, skipped=writer.skipped)), source, writer.skipped)
        for batch in _batches(_behind(prefix, documents) if prefix else documents):
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


def _behind(prefix: str, documents: Iterator[Numbered]) -> Iterator[Numbered]:
    """The documents with something before their texts; blank ones, and what goes on with a text, stay as they are."""
    begun = False
    for number, document in documents:
        yield number, document if begun or not document.text.strip() else with_(document, text=prefix + document.text)
        begun = document.more


def _placed(documents: Iterator[Numbered], source: AnySource, skipped: Counter[str]) -> Iterator[Numbered]:
    """The documents with their answers in place, where the source has such."""
    if not isinstance(source, Questions) or "answers" not in getattr(source, "columns", {}):
        yield from documents
        return
    for number, document in documents:
        found = placed(document, source.wrong_answers)
        if found is None:
            skipped["with an answer that does not stand where it says"] += 1
        else:
            yield number, found


def _batches(documents: Iterator[Numbered]) -> Iterator[list[Numbered]]:
    held: list[Numbered] = []
    size = 0
    for number, document in documents:
        held.append((number, document))
        size += len(document.text) + len(document.pair or "") + len((document.target or ("",))[0]) + 64
        if size >= BATCH:
            yield held
            held, size = [], 0
    if held:
        yield held


class _Writer:
    """The columns while they grow."""

    def __init__(
        self, folder: Path, tokenizer: Tokenizer, *, sentence: Any, roles: Sequence[str], tell: Tell | None, separator: str
    ) -> None:
        self.folder, self.tokenizer, self.sentence, self.tell = folder, tokenizer, sentence, tell
        ids = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
        types: dict[str, Any] = {"tokens": ids, "documents": np.int64, "file": np.int32, "line": np.int64, "ordinal": np.int64}
        types |= {"sentences": np.int64} if sentence else {}
        self.others = {role: column for role, column in OTHERS.items() if role in roles}
        for column in self.others.values():
            types |= {f"{column}_tokens": ids, f"{column}_documents": np.int64}
        if "choices" in roles:
            types |= {"choice_tokens": ids, **CHOICES}
        self.columns = {name: ColumnWriter(folder / f"{name}.npy", dtype) for name, dtype in types.items()}
        self.tokens = self.columns["tokens"]
        for name in self.columns:
            if name == "sentences" or name.endswith("documents"):
                self.columns[name].append(np.zeros(1, np.int64))
        self.annotations = annotations(roles, folder, self.columns, separator)
        self.aligned = any(role in roles for role in ALIGNED)
        self.seen: dict[str, int] = {}  # files in the order of reading
        self.skipped: Counter[str] = Counter()
        self.bytes = self.count = self.open = 0
        self.begin: tuple[int, int] | None = None  # where the document began that is being read in parts

    def add(self, given: Sequence[Numbered]) -> None:
        """Appends a batch; a document whose last part is yet to come is closed by a later batch."""
        batch, parts, seconds = self._parts([document for _, document in given])
        texts = {role: [_other(d, role) for d in batch] for role in self.others}
        others = {role: self._whole(seconds or [[text] for text in own]) for role, own in texts.items()}
        found, spans = self._encode(parts)
        tokens: list[np.ndarray] = []
        kept: list[int] = []
        lengths: list[int] = []
        places: list[tuple[int, int, int]] = []
        edges: list[int] = []
        at = self.tokens.count
        for i, d in enumerate(batch):
            file = self.seen.setdefault(d.file, len(self.seen))
            begin = self.begin or (file, d.line)
            blank = self.begin is None and not d.more and (d.text.isspace() or not sum(map(len, found[i])))
            if blank or any(texts[role][i].isspace() or not len(others[role][0][i]) for role in self.others):
                self.skipped["empty"] += 1
                continue
            tokens.extend(found[i])
            for sentence in found[i]:
                at += len(sentence)
                if len(sentence):
                    edges.append(at)
                self.open += len(sentence)
            self.bytes += len(d.text.encode()) + sum(len(texts[role][i].encode()) for role in self.others)
            self.begin = begin if d.more else None
            if d.more:
                continue
            if not self.open:
                self.skipped["empty"] += 1
                continue
            lengths.append(self.open)
            places.append((*begin, given[i][0]))
            self.open = 0
            kept.append(i)
        self._append(tokens, lengths, places, edges)
        for role, column in self.others.items():
            self._append_other(column, [others[role][0][i] for i in kept])
        if "choice_tokens" in self.columns:
            add_choices(self.columns, self.tokenizer, [batch[i].choices or () for i in kept])
        pairs = next((others[role][1] for role in ("text_pair", "rejected") if role in others), [])
        for annotation in self.annotations:
            for i in kept:
                annotation.add(batch[i], spans[i] if spans else UNKNOWN, pairs[i] if pairs else UNKNOWN)

    def _append(
        self,
        tokens: list[np.ndarray],
        lengths: list[int],
        places: list[tuple[int, int, int]],
        edges: list[int],
    ) -> None:
        closed = self.tokens.count + sum(map(len, tokens)) - self.open
        if tokens:
            self.tokens.append(np.concatenate(tokens))
        self.columns["documents"].append(closed - sum(lengths) + np.cumsum(np.array(lengths, np.int64)))
        for name, column in zip(("file", "line", "ordinal"), np.array(places, np.int64).reshape(-1, 3).T, strict=True):
            self.columns[name].append(column)
        if self.sentence:
            self.columns["sentences"].append(np.array(edges, np.int64))
        self.count += len(lengths)

    def _append_other(self, column: str, ids: list[np.ndarray]) -> None:
        if ids:
            before = self.columns[f"{column}_tokens"].count
            self.columns[f"{column}_tokens"].append(np.concatenate(ids))
            self.columns[f"{column}_documents"].append(before + np.cumsum([len(each) for each in ids]))

    def _parts(self, batch: Sequence[Document]) -> tuple[Sequence[Document], list[Sequence[str]], list[Sequence[str]]]:
        """The documents, and what of their texts is encoded apart: sentences, and of conversations what no control token crosses."""
        if self.tell is None:
            return batch, [split_sentences(d.text, self.sentence) if self.sentence else [d.text] for d in batch], []
        made = [self.tell(d) for d in batch]
        return [each.document for each in made], [each.first for each in made], [each.second for each in made]

    def _encode(self, groups: Sequence[Sequence[str]]) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
        """Ids of each text of each group, and where the tokens of all its texts stand, if that is asked for."""
        texts = [text for group in groups for text in group]
        if not self.aligned:
            each = iter(self.tokenizer.encode(texts, specials=False))
            return [list(islice(each, len(group))) for group in groups], []
        found = iter(self.tokenizer.spans(texts, specials=self.tell is not None))
        ids: list[list[np.ndarray]] = []
        spans: list[np.ndarray] = []
        for group in groups:
            ids.append([])
            own, at = [UNKNOWN], 0
            for text, (numbers, places) in zip(group, found, strict=False):
                ids[-1].append(numbers)
                own.append(places + at)
                at += len(text)
            spans.append(np.concatenate(own))
        return ids, spans

    def _whole(self, groups: Sequence[Sequence[str]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Ids of each group together, and where its tokens stand."""
        ids, spans = self._encode(groups)
        return [np.concatenate([NO_IDS, *each]) for each in ids], spans

    def finish(self, mark: str) -> None:
        names: dict[str, list[str]] = {}
        for annotation in self.annotations:
            names |= annotation.finish()
        meta = {
            "fingerprint": mark,
            "columns": {name: column.finish() for name, column in self.columns.items()},
            "names": names,
            "bytes": self.bytes,
            "skipped": dict(self.skipped),
            "remarks": [remark for annotation in self.annotations if isinstance(annotation, Remarking) for remark in annotation.remarks()],
            "files": list(self.seen),
        }
        with open(self.folder / META, "w", encoding="utf-8") as file:
            json.dump(meta, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        for column in self.columns.values():
            column.close()


def _other(document: Document, role: str) -> str:
    return (document.target or ("",))[0] if role == "target" else document.pair or ""
