"""`lmkit predict`: labels, numbers, vectors, entities, answers or fillings for masks, from a run or a Hugging Face folder."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from lmkit.data.document import Document
from lmkit.data.sources import read
from lmkit.data.spec import AnySource, Csv, JsonLines, Parquet, TextFiles, Tsv
from lmkit.errors import DataError, Problem, SpecError
from lmkit.run.console import Console
from lmkit.run.source import existing
from lmkit.run.spec import RunSpec

CHUNK = 512  # rows in memory at once
# The fields that a file may have for a model that knows of none.
COLUMNS = ({"text": "question", "text_pair": "context"}, {"text": "text", "text_pair": "text_pair"}, {"text": "text"})


def predict(
    run: Path,
    *,
    texts: list[str],
    pairs: list[str],
    input: str | None,
    output: str | None,
    as_json: bool,
    console: Console,
    allow_code: bool = False,
) -> int:
    """Answers `texts`, or every row of `input` (`-`: standard input, one text a line), one JSON object a line.

    `pairs` are the second texts, one for each of `texts`, or none. With `output` (`-`: standard output) rows go to that file,
    which appears when all are done. A single `--text` is answered for a reader unless `as_json`.
    """
    if bool(texts) == bool(input):
        raise SpecError(Problem("give either --text or --input", where="command line"))
    if pairs and len(pairs) != len(texts):
        raise SpecError(Problem(f"{len(pairs)} --pair for {len(texts)} --text; give one for each", where="command line"))
    existing(run)
    with console.quiet():
        from lmkit.run.answers import answerer
        from lmkit.run.open import open_trained

    opened = open_trained(run, console, allow_code=allow_code)
    answer = answerer(opened)
    given = [Document(text, pair) for text, pair in zip_longest(texts, pairs)]
    documents: Iterable[Document] = given or read(_source(opened.spec, str(input)))
    rows = (row for chunk in _chunks(documents) for row in answer(chunk))
    if output not in (None, "-"):
        _write(Path(str(output)), rows)
    elif texts and not as_json and output is None:
        for row in rows:
            for line in _readable(row):
                console.out(line)
    else:
        for row in rows:
            console.out(json.dumps(row, ensure_ascii=False))
    return 0


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    documents = iter(documents)
    while chunk := list(islice(documents, CHUNK)):
        yield chunk


def _source(spec: RunSpec, path: str) -> AnySource:
    """A file's rows in the run's own columns, without labels; a model that was imported takes those that the file has."""
    columns = next((dict(s.columns) for s in spec.data.train.values() if hasattr(s, "columns")), None)
    if columns is not None:
        columns.pop("label", None)
        return _file(path, columns)
    return first_that_opens(path, COLUMNS)


def first_that_opens(path: str, columns: Sequence[dict[str, str]]) -> AnySource:
    """The file with the first of these columns that it has, or else the last of them."""
    candidates = [_file(path, named) for named in columns]
    return next((source for source in candidates if isinstance(source, TextFiles) or _opens(source)), candidates[-1])


def _file(path: str, columns: dict[str, str]) -> AnySource:
    """The file's ending tells the format."""
    path = "/dev/stdin" if path == "-" else path
    match Path(path.removesuffix(".gz")).suffix:
        case ".jsonl" | ".json":
            return JsonLines(jsonl=(path,), columns=columns)
        case ".csv":
            return Csv(csv=(path,), columns=columns)
        case ".tsv":
            return Tsv(tsv=(path,), columns=columns)
        case ".parquet":
            return Parquet(parquet=(path,), columns=columns)
        case _:
            return TextFiles(text=(path,), document="line")


def _opens(source: AnySource) -> bool:
    try:
        next(iter(read(source)), None)
    except DataError:
        return False
    return True


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes beside the file and renames, so that a half-written answer never has its name."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(part, "w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        os.replace(part, path)
    except OSError as error:
        raise DataError(Problem(f"cannot be written: {error.strerror}", where=str(path))) from None
    finally:
        part.unlink(missing_ok=True)


def _readable(row: dict[str, Any]) -> Iterator[str]:
    for name, answer in row.items():
        if isinstance(answer, str):
            yield answer
        else:
            yield from (f"  {name}: {line}" for line in _lines(answer))


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    """One answer for a reader; what tells it is which keys it has."""
    if "probabilities" in answer:
        shares = ", ".join(f"{label} {share:.3f}" for label, share in answer["probabilities"].items())
        yield f"{answer['label']}  ({shares})"
    elif "value" in answer:
        yield f"{answer['value']:.4f}"
    elif "vector" in answer:
        first = ", ".join(f"{value:.4f}" for value in answer["vector"][:4])
        yield f"[{first}, ...]  ({len(answer['vector'])} numbers; --json gives all)"
    elif "spans" in answer:
        yield from (f"{one['text']}  ({one['start']}-{one['end']}, {one['probability']:.3f})" for one in answer["spans"])
    elif "entities" in answer:
        found = [f"{one['text']} {one['label']} ({one['start']}-{one['end']}, {one['probability']:.3f})" for one in answer["entities"]]
        yield ", ".join(found) or "no entities"
    elif "tokens" in answer:
        yield ", ".join(f"{one['text']} {one['replaced']:.3f}" for one in answer["tokens"])
    else:
        for mask in answer["masks"]:
            yield ", ".join(f"{found['token']} {found['probability']:.3f}" for found in mask)
        yield answer["filled"]
