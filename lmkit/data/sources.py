"""The door to the sources: from the words of a source to its documents, in a fixed order."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace as with_
from pathlib import Path
from typing import Any, assert_never

from lmkit.data.conll import read_conll
from lmkit.data.conllu import read_conllu
from lmkit.data.document import Document
from lmkit.data.files import Stop, Warn, find, never, silent, sound, tried
from lmkit.data.huggingface import load_huggingface, read_huggingface
from lmkit.data.jsonl import read_jsonl
from lmkit.data.parallel import read_parallel
from lmkit.data.parquet import read_parquet
from lmkit.data.plain_text import read_text
from lmkit.data.records import to_documents
from lmkit.data.roles import fields_of, unlabelled
from lmkit.data.separated import read_separated
from lmkit.data.spec import (
    AnySource,
    Builtin,
    Conll,
    Conllu,
    Csv,
    HuggingFace,
    Imported,
    JsonLines,
    Parallel,
    Parquet,
    Records,
    Squad,
    TextFiles,
    Tsv,
)
from lmkit.data.squad import read_squad
from lmkit.errors import DataError, Problem

Rows = Iterator[tuple[int, dict[str, Any] | DataError]]


def read(
    source: AnySource, *, base: Path = Path(), stop: Stop = never, warn: Warn = silent, skipped: Counter[str] | None = None
) -> Iterator[Document]:
    """Every document of a source, empty ones too, always in the same order; relative paths start at `base`.

    `skipped` counts the records that the source's words leave out, by reason.

    Raises DataError with the place of the first thing that is wrong, MachineError where a library is missing, Interrupted once
    `stop()` is true.
    """
    for document in read_each(source, base=base, stop=stop, warn=warn, skipped=skipped):
        yield sound(document)


def read_each(
    source: AnySource,
    *,
    base: Path = Path(),
    stop: Stop = never,
    warn: Warn = silent,
    skipped: Counter[str] | None = None,
    whole: bool = False,
) -> Iterator[Document | DataError]:
    """As `read`, but what is wrong with one record stands in its place. `whole` gives documents of records these as `record`."""
    match source:
        case Builtin():
            yield from _builtin(source.builtin)
        case TextFiles():
            for path in find(source.text, base, warn):
                yield from read_text(
                    path,
                    document=source.document,
                    errors=source.encoding_errors,
                    longest=source.max_record_bytes,
                    split=source.long_records == "split",
                    stop=stop,
                )
        case Parallel():
            texts, targets = find(source.text, base, warn), find(source.target, base, warn)
            yield from read_parallel(texts, targets, errors=source.encoding_errors, longest=source.max_record_bytes, stop=stop)
        case Conll():
            for path in find(source.conll, base, warn):
                yield from read_conll(path, text=source.columns["text"], tags=source.columns.get("tags"), **_strict(source, stop))
        case Conllu():
            for path in find(source.conllu, base, warn):
                yield from read_conllu(path, text=source.columns["text"], tags=source.columns.get("tags"), **_strict(source, stop))
        case Squad():
            for path in find(source.squad, base, warn):
                yield from read_squad(path, errors=source.encoding_errors, longest=source.max_record_bytes, stop=stop)
        case HuggingFace():
            table = load_huggingface(source.huggingface, config=source.config, split=source.split, base=base)
            needed = fields_of(source.columns)
            rows = read_huggingface(table, source.huggingface, needed=needed, stop=stop)
            yield from _documents(source, source.huggingface, rows, skipped, whole)
        case Imported():
            raise DataError(Problem("the model was imported and brings no text; name a file", "data.train", source.imported))
        case JsonLines() | Csv() | Tsv() | Parquet():
            for path in find(patterns(source), base, warn):
                yield from _documents(source, str(path), _rows(source, path, stop, whole), skipped, whole)
        case _:
            assert_never(source)


def first_record(source: JsonLines | Csv | Tsv | Parquet) -> dict[str, Any]:
    """The first record of its first file. Raises DataError where it cannot be read or holds none."""
    path = find(patterns(source), Path())[0]
    for _, record in _rows(source.model_copy(update={"columns": {}}), path, never, whole=True):
        return sound(record)
    raise _no_records(source, str(path))


def patterns(source: AnySource) -> tuple[str, ...]:
    """The paths and globs that a source names; empty for what is no file."""
    match source:
        case TextFiles():
            return source.text
        case Parallel():
            return source.paths
        case JsonLines():
            return source.jsonl
        case Csv():
            return source.csv
        case Tsv():
            return source.tsv
        case Parquet():
            return source.parquet
        case Conll():
            return source.conll
        case Conllu():
            return source.conllu
        case Squad():
            return source.squad
        case HuggingFace() | Builtin() | Imported():
            return ()
        case _:
            assert_never(source)


def _strict(source: AnySource, stop: Stop) -> dict[str, Any]:
    """What readers of words must know beside the columns."""
    return {"errors": source.encoding_errors, "longest": source.max_record_bytes, "stop": stop}


def _rows(source: JsonLines | Csv | Tsv | Parquet, path: Path, stop: Stop, whole: bool = False) -> Rows:
    needed, longest, split = fields_of(source.columns), source.max_record_bytes, source.long_records == "split"
    errors = source.encoding_errors
    match source:
        case JsonLines():
            return read_jsonl(path, errors=errors, longest=longest, split=split, stop=stop)
        case Csv():
            return read_separated(
                path, delimiter=source.delimiter, quoted=True, needed=needed, errors=errors, longest=longest, split=split, stop=stop
            )
        case Tsv():
            return read_separated(path, delimiter="\t", quoted=False, needed=needed, errors=errors, longest=longest, split=split, stop=stop)
        case Parquet():
            return read_parquet(path, needed=needed, whole=whole, stop=stop)
        case _:
            assert_never(source)


def _documents(source: Records, file: str, rows: Rows, skipped: Counter[str] | None, whole: bool) -> Iterator[Document | DataError]:
    number = 0
    for number, record in rows:
        if isinstance(record, DataError):
            yield record
            continue
        if source.unlabelled == "skip" and unlabelled(record, source.columns)[0]:
            if skipped is not None:
                skipped["unlabelled"] += 1
            continue
        made = tried(_of_record, source, record, file, number)
        if isinstance(made, DataError):
            yield made
        else:
            yield from (with_(document, record=record) for document in made) if whole else made
    if not number:
        raise _no_records(source, file)


def _no_records(source: Records, file: str) -> DataError:
    return DataError(Problem(f"holds no records{', only a header line' if isinstance(source, Csv | Tsv) else ''}", where=file))


def _of_record(source: Records, record: dict[str, Any], file: str, number: int) -> list[Document]:
    name, found = unlabelled(record, source.columns)
    if found == "-1" and source.unlabelled == "fail":
        what = "-1 mostly means no label; write unlabelled: skip under the source, or unlabelled: never where -1 is one"
        raise DataError(Problem(what, name, f"{file}:{number}"))
    habits: dict[str, Any] = {"longest": source.max_record_bytes, "split": source.long_records == "split"}
    habits |= {"replace": source.encoding_errors == "replace", "separator": source.label_separator}
    return list(to_documents(record, source.columns, file, number, **habits))


def _builtin(name: str) -> Iterator[Document]:
    """Topics of the language reference that every CPython carries; the text differs between Python versions."""
    from pydoc_data import topics

    for number, key in enumerate(sorted(topics.topics), 1):
        yield Document(topics.topics[key], file=f"builtin:{name}", line=number)
