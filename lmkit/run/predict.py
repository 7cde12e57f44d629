"""`lmkit predict`: labels with probabilities from a classifier, fillings for masks from a masked language model."""

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from lmkit.data.document import Document
from lmkit.data.sources import read
from lmkit.errors import MachineError, Problem, SpecError
from lmkit.run.console import Console
from lmkit.run.directory import existing_run
from lmkit.run.given import from_lines, source_of
from lmkit.run.spec import RunSpec

CHUNK = 512  # rows in memory at once


def predict(run: Path, *, texts: list[str], input: str | None, output: str | None, as_json: bool, console: Console) -> int:
    """Answers `texts`, or every row of `input` (`-`: standard input, one text or JSON object a line), one JSON object a line.

    With `output` (`-`: standard output) rows go to that file, which appears when all are done. A single `--text` is answered
    for a reader unless `as_json`.
    """
    if bool(texts) == bool(input):
        raise SpecError(Problem("give either --text or --input", where="command line"))
    existing_run(run)
    if output not in (None, "-") and not _can_hold(Path(str(output))):
        raise MachineError(Problem("cannot be written: its folder does not exist, or it is a folder itself", where=str(output)))
    with console.quiet():
        from lmkit.run.answers import answerer
        from lmkit.run.open import open_trained

    opened = open_trained(run, console)
    answer = answerer(opened)
    documents: Iterable[Document] = map(Document, texts) if texts else _documents(opened.spec, str(input), console)
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


def _documents(spec: RunSpec, path: str, console: Console) -> Iterator[Document]:
    """A file's rows in the run's own columns, without labels."""
    columns = next((dict(s.columns) for s in spec.data.train.values() if hasattr(s, "columns")), {"text": "text"})
    columns.pop("label", None)
    return from_lines(console.lines(), columns) if path == "-" else read(source_of(Path(path), columns))


def _can_hold(path: Path) -> bool:
    return path.absolute().parent.is_dir() and not path.is_dir()


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes beside the file and renames, so that a half-written answer never has its name."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(part, "w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        os.replace(part, path)
    except OSError as error:
        raise MachineError(Problem(f"cannot be written: {error.strerror}", where=str(path))) from None
    finally:
        part.unlink(missing_ok=True)


def _readable(row: dict[str, Any]) -> Iterator[str]:
    for name, answer in row.items():
        if name == "text":
            yield answer
        elif "probabilities" in answer:
            shares = ", ".join(f"{label} {share:.3f}" for label, share in answer["probabilities"].items())
            yield f"  {name}: {answer['label']}  ({shares})"
        else:
            for mask in answer["masks"]:
                yield f"  {name}: " + ", ".join(f"{found['token']} {found['probability']:.3f}" for found in mask)
            yield f"  {name}: {answer['filled']}"
