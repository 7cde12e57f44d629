"""Data that a user gives beside a run: a file whose ending tells its format, or the lines of standard input."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lmkit.data.document import Document
from lmkit.data.files import tried
from lmkit.data.jsonl import record_of
from lmkit.data.records import to_documents
from lmkit.data.roles import conversational
from lmkit.data.sources import read_each
from lmkit.data.spec import AnySource, Conll, Conllu, Csv, JsonLines, Parallel, Parquet, Records, Sentences, Squad, TextFiles, Tsv
from lmkit.data.squad import is_squad
from lmkit.errors import DataError, Problem, SpecError
from lmkit.run.columns import Columns, lacking, missing

Named = JsonLines | Csv | Tsv | Parquet
FORMATS: dict[str, type[Named]] = {
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".json": JsonLines,
    ".csv": Csv,
    ".tsv": Tsv,
    ".parquet": Parquet,
}
WORDS: dict[str, type[Conll | Conllu]] = {".conll": Conll, ".bio": Conll, ".iob": Conll, ".iob2": Conll, ".conllu": Conllu}
FIRST = 16  # records that tell what the fields of a file are
STANDARD_INPUT = "standard input"


def ending_of(path: str | Path) -> str:
    """`.jsonl` of `a/B.JSONL.gz`."""
    return Path(Path(path).name.removesuffix(".gz")).suffix.lower()


def format_of(path: Path) -> type[Named] | None:
    """The format with named fields that a file's ending tells; None is plain text."""
    return FORMATS.get(ending_of(path))


def words_of(path: Path, like: AnySource | None = None) -> Conll | Conllu | None:
    """A file with a word a line, where its ending tells so or, for a table, the source that it is to be read like; else None."""
    ending = ending_of(path)
    found = type(like) if isinstance(like, Sentences) and ending == ".tsv" else WORDS.get(ending)
    if found is None:
        return None
    if isinstance(like, found):
        return like.model_copy(update={key_of(found): (str(path),)})
    return found.model_validate({key_of(found): (str(path),)})


def source_of(path: Path, candidates: Sequence[Columns], like: AnySource | None = None) -> AnySource:
    """The rows of a file, one a line where it is plain text; of the columns, the first that the file has, else the last.

    Of a file of words, read as `like` where that is one, the roles beside the text are those of the candidates.
    """
    aligned = aligned_of(path)
    if aligned is not None:
        return aligned
    words, found = words_of(path, like), format_of(path)
    if is_squad_file(path):
        return Squad(squad=(str(path),))
    if words is not None:
        wanted = {"text"}.union(*candidates)
        return words.model_copy(update={"columns": {role: column for role, column in words.columns.items() if role in wanted}})
    if found is None:
        return TextFiles(text=(str(path),), document="line")
    sources = [_named(found, path, columns) for columns in candidates]
    return next((source for source in sources[:-1] if opens(source)), sources[-1])


def source_like(source: AnySource, path: Path) -> AnySource:
    """The file read as `source` reads its own, but in the format that its ending tells.

    Raises DataError for plain text in place of records.
    """
    aligned = aligned_of(path)
    if aligned is not None:
        return source.model_copy(update=aligned.model_dump(include={"text", "target"})) if isinstance(source, Parallel) else aligned
    words, found = words_of(path, source), format_of(path)
    if words is not None:
        return words
    if is_squad_file(path):
        return source.model_copy(update={"squad": (str(path),)}) if isinstance(source, Squad) else Squad(squad=(str(path),))
    if isinstance(source, Squad) and found is not None:
        return _named(found, path, Squad.columns)
    if isinstance(source, TextFiles | Sentences) and found is None:
        return source.model_copy(update={key_of(type(source)): (str(path),)})
    if isinstance(source, Parallel):
        changed = {"text": (str(path),), "target": (_partner(source, path),)}
        return source.model_copy(update=changed) if found is None else _named(found, path, source.columns)
    if isinstance(source, Sentences):
        return source_of(path, [{"words": "tokens", "tags": "tags"}, {"words": "words", "tags": "tags"}])
    if not isinstance(source, Records):
        return source_of(path, [{"text": "text"}])
    if found is None:
        endings = ", ".join(FORMATS) + (", or text=FILE,target=FILE" if source.columns.keys() == {"text", "target"} else "")
        raise DataError(Problem(f"has no named fields, and the run reads {', '.join(source.columns)}; name a {endings}", where=str(path)))
    if isinstance(source, found):
        return source.model_copy(update={key_of(found): (str(path),)})
    return _named(found, path, source.columns).model_copy(update={"label_separator": source.label_separator})


def aligned_of(path: Path, argument: str = "--data") -> Parallel | None:
    """Two files that are aligned by line, where `text=FILE,target=FILE` stands for a path; None for the name of one file.

    Raises SpecError where one of the two is not named.
    """
    found = dict(part.split("=", 1) for part in str(path).split(",") if "=" in part)
    if not found.keys() & {"text", "target"} or path.exists():
        return None
    if found.keys() != {"text", "target"} or not all(found.values()):
        raise SpecError(Problem(f"expected FILE, or text=FILE,target=FILE, got {path}", argument, "command line"))
    return Parallel(text=(found["text"],), target=(found["target"],))


def from_lines(
    lines: Iterable[str], candidates: Sequence[Columns], asked: Columns = MappingProxyType({})
) -> Iterator[Document | DataError]:
    """A document for each line, with its record: a JSON object with the named fields where the first one is such, else a text, which
    may be blank from then on. `asked` are the columns of the command line.

    One that cannot be read is an error in its place. Raises DataError where there is nothing.
    """
    as_objects: bool | None = None
    columns: Columns | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip() and as_objects is not False:
            continue
        as_objects = line.lstrip().startswith("{") if as_objects is None else as_objects
        if as_objects:
            record = tried(record_of, line, f"{STANDARD_INPUT}:{number}")
            if isinstance(record, DataError):
                yield record
                continue
            columns = columns or next((c for c in candidates if not lacking(c, record)), None)
            if columns is None:
                yield DataError(missing(candidates[-1], list(record), asked, f"{STANDARD_INPUT}:{number}"))
            else:
                yield tried(_document, record, columns, number)
        else:
            yield Document(line.rstrip("\r\n"), file=STANDARD_INPUT, line=number)
    if as_objects is None:
        raise DataError(Problem("is empty", where=STANDARD_INPUT))


def _document(record: Mapping[str, Any], columns: Columns, number: int) -> Document:
    limit = int(JsonLines.model_fields["max_record_bytes"].default)
    (document,) = to_documents(record, columns, STANDARD_INPUT, number, longest=limit, split=False, replace=False)
    return replace(document, record=record)


def is_squad_file(path: Path) -> bool:
    """Whether a file is JSON as SQuAD's is."""
    return ending_of(path) == ".json" and path.is_file() and is_squad(path)


def key_of(of: type[AnySource]) -> str:
    """The word that names the files of such a source."""
    return next(key for key in ("text", "jsonl", "csv", "tsv", "parquet", "conll", "conllu") if key in of.model_fields)


def _named(of: type[Named], path: Path, columns: Columns) -> AnySource:
    if not columns.keys() & {"text", "words"} and not conversational(columns):
        raise SpecError(Problem("no field is named for text; write for example --columns text=body", "--columns", str(path)))
    return of.model_validate({key_of(of): (str(path),), "columns": dict(columns)})


def _partner(source: Parallel, path: Path) -> str:
    """The file that goes with a file of texts: it ends in what the source's own targets end in."""
    endings = [Path(files[0].removesuffix(".gz")).suffix for files in (source.text, source.target)]
    stem, packed = path.name.removesuffix(".gz"), ".gz" if path.name.endswith(".gz") else ""
    if not endings[0] or not stem.endswith(endings[0]):
        what = f'the run reads pairs of files that end in "{endings[0]}" and "{endings[1]}"; name such a file of texts, or a .jsonl'
        raise DataError(Problem(what, where=str(path)))
    return str(path.with_name(stem.removesuffix(endings[0]) + endings[1] + packed))


def opens(source: AnySource) -> bool:
    """Whether one of its first records has all fields; none may be there."""
    try:
        first = list(islice(read_each(source), FIRST))
    except DataError:
        return False
    return not first or any(isinstance(each, Document) for each in first)
