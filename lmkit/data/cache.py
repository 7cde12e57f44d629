"""Tokenized sources on disk: built once, proved on opening, memory-mapped ever after.

A cache is a folder named by its fingerprint. It is written under another name and renamed when it is whole, so a kill never
leaves half of one; one that was damaged since is built again.
"""

import errno
import json
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.data.columns import Damaged, largest, open_column
from lmkit.data.files import Stop, Warn, never, silent
from lmkit.data.fingerprint import contents, files_of, fingerprint, stamps
from lmkit.data.roles import conversational
from lmkit.data.spec import AnySource
from lmkit.data.tokenize import META, Progress, nothing, tokenize
from lmkit.errors import DataError, MachineError, Problem
from lmkit.text.chat_templates import require_chat
from lmkit.text.tokenizer import Tokenizer

VERSION = 2
OFFSETS = {
    "documents": "tokens",
    "sentences": "tokens",
    "pair_documents": "pair_tokens",
    "target_documents": "target_tokens",
    "set_documents": "sets",
    "choice_documents": "choice_begin",
}
FIRST = ("tokens", "documents", "sentences", "file", "line", "ordinal")
NUMBERED = ("labels", "sets", "tags")  # columns of places in `names`


@dataclass(frozen=True, eq=False)
class Cache:
    """A source as token ids, without specials: document i is tokens[documents[i]:documents[i + 1]], never empty.

    `sentences` are such offsets too, document edges included (None where they were not asked for). `more` are the columns
    of what else the records hold: `{role}_tokens` and `{role}_documents` of other texts (pair, target), and what
    data/annotations.py makes, whose labels are places in `names`, which are sorted (whole numbers by value).
    `read` is each file with a hash of it.
    `fingerprint` is of what was read and how, wherever it lies; `read` has each file with one. `bytes` counts UTF-8 bytes of all
    texts; `skipped` counts what was left out, by reason; `remarks` say what looks wrong, with its place.
    """

    tokens: np.ndarray  # uint16 or uint32
    documents: np.ndarray  # int64[n + 1]
    sentences: np.ndarray | None  # int64[m + 1]
    bytes: int
    fingerprint: str
    read: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, np.ndarray] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    file: np.ndarray | None = None  # int32[n], place in files
    line: np.ndarray | None = None  # int64[n]
    ordinal: np.ndarray | None = None  # int64[n], place among all that the source gives

    def __len__(self) -> int:
        """The number of documents."""
        return len(self.documents) - 1

    def text(self, role: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Tokens and int64 [n + 1] offsets of the texts of another role (pair, target), None where there are none."""
        tokens = self.more.get(f"{role}_tokens")
        return None if tokens is None else (np.asarray(tokens), np.asarray(self.more[f"{role}_documents"], np.int64))

    @property
    def others(self) -> list[np.ndarray]:
        """The tokens of all texts beside the first ones."""
        return [column for name, column in self.more.items() if name.endswith("_tokens")]

    def where(self, document: int, token: int | None = None) -> str:
        """`file:line` where a document begins, or where the word stands whose tag is that of a token."""
        if self.file is None or self.line is None:
            return ""
        line = self.line[document] if token is None or "tag_lines" not in self.more else self.more["tag_lines"][token]
        return f"{self.files[self.file[document]]}:{line}"


def open_cache(
    source: AnySource,
    tokenizer: Tokenizer,
    *,
    directory: Path,
    needs_sentences: bool = False,
    prefix: str = "",
    base: Path = Path(),
    stop: Stop = never,
    progress: Progress = nothing,
    warn: Warn = silent,
) -> Cache:
    """The cache of a source, built below `directory` when it is not there whole.

    `prefix` stands before the text of every document. `progress(documents, tokens)` is called now and then while it is built.

    Raises DataError for bad or no data, Interrupted once `stop()` is true, MachineError when the disk refuses.
    """
    before = stamps(source, base)
    facts = contents(source, base, stop, warn)
    unread = set() if "labels" in getattr(source, "columns", {}) else {"label_separator"}
    unread |= {"weight"} | (set() if needs_sentences else {"sentence"})
    words: dict[str, Any] = {"tokenizer": tokenizer.hash, "sentences": needs_sentences, "version": VERSION}
    words |= {"chat_template": require_chat(tokenizer).source} if conversational(getattr(source, "columns", {})) else {}
    words |= {"prefix": prefix} if prefix else {}
    mark = fingerprint(facts, source=source.model_dump(mode="json", exclude=unread), **words)
    anywhere = source.with_paths(lambda path: "").model_dump(mode="json", exclude=unread)
    what = fingerprint([[os.path.basename(name), *content] for name, *content in facts], source=anywhere, **words)

    def opened() -> Cache:
        cache = _open(folder, mark, tokenizer)
        for remark in cache.remarks:
            warn(f"warning: {remark}")
        return replace(cache, fingerprint=what, read=files_of(facts))

    folder = directory / mark[:32]
    if folder.is_dir():
        try:
            return opened()
        except Damaged as error:
            warn(f"{error}; the cache is built again")
    try:
        _build(
            folder,
            lambda new: tokenize(source, tokenizer, new, mark, needs_sentences, prefix=prefix, base=base, stop=stop, progress=progress),
        )
    except OSError as error:
        fix = "; free some space and run the same command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise MachineError(Problem(f"the token cache cannot be written: {error.strerror or error}{fix}", where=str(directory))) from None
    if stamps(source, base) != before:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(Problem("a data file changed while it was read; run again when it is still", where=before[0][0]))
    return opened()


def _build(folder: Path, write: Callable[[Path], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    new = folder.parent / f".{folder.name}.{socket.gethostname()}.{os.getpid()}"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        write(new)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            new.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process built the same one meanwhile
                raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _sweep(directory: Path) -> None:
    """Removes what killed processes of this machine left half built."""
    for left in directory.glob(f".*.{socket.gethostname()}.*"):
        pid = left.name.rpartition(".")[2]
        if pid.isdigit() and int(pid) != os.getpid() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _open(folder: Path, mark: str, tokenizer: Tokenizer) -> Cache:
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text(encoding="utf-8"))
        if meta["fingerprint"] != mark:
            raise Damaged(f"{folder}: is of another fingerprint")
        columns = {name: open_column(folder / f"{name}.npy", facts) for name, facts in meta["columns"].items()}
        cache = Cache(
            tokens=columns["tokens"],
            documents=columns["documents"],
            sentences=columns.get("sentences"),
            file=columns["file"],
            line=columns["line"],
            ordinal=columns["ordinal"],
            more={name: column for name, column in columns.items() if name not in FIRST},
            names={column: tuple(names) for column, names in meta["names"].items()},
            bytes=meta["bytes"],
            fingerprint=mark,
            skipped=meta["skipped"],
            remarks=tuple(meta.get("remarks", ())),
            files=tuple(meta["files"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{folder}: {type(error).__name__} {error}") from None
    _check(cache, columns, folder, tokenizer.vocab_size)
    return cache


def _check(cache: Cache, columns: dict[str, np.ndarray], folder: Path, vocab_size: int) -> None:
    for name in columns:
        if name.endswith("tokens") and largest(columns[name]) >= vocab_size:
            raise Damaged(f"{folder}/{name}.npy: token id {largest(columns[name])} is not below the vocabulary of {vocab_size}")
    for name, of in OFFSETS.items():
        if name in columns:
            edges = columns[name]
            if edges[0] != 0 or edges[-1] != len(columns[of]) or (np.diff(edges) < 0).any():
                raise Damaged(f"{folder}/{name}.npy: the offsets do not cover {of}")
    for name in NUMBERED:
        if name in columns and len(columns[name]) and not -1 <= columns[name].min() <= columns[name].max() < len(cache.names[name]):
            raise Damaged(f"{folder}/{name}.npy: a label has no name")
