"""`lmkit predict`: labels, numbers, vectors, entities, answers or fillings for masks, from a run or a Hugging Face folder."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from lmkit.data.document import Document
from lmkit.data.sources import read
from lmkit.data.spec import Records
from lmkit.errors import DataError, MachineError, Problem, SpecError
from lmkit.run.console import Console
from lmkit.run.given import from_lines, source_of
from lmkit.run.output import texts_of
from lmkit.run.source import existing
from lmkit.run.spec import RunSpec

CHUNK = 512  # rows in memory at once
# The fields that a file may have for a model that knows of none.
COLUMNS = (
    {"text": "text", "choices": "choices"},
    {"text": "question", "text_pair": "context"},
    {"text": "text", "text_pair": "text_pair"},
    {"text": "text"},
    {"words": "tokens"},
    {"text": "text"},
)


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
    if output not in (None, "-") and not _can_hold(Path(str(output))):
        raise MachineError(Problem("cannot be written: its folder does not exist, or it is a folder itself", where=str(output)))
    with console.quiet():
        from lmkit.run.answers import answerer
        from lmkit.run.open import open_trained

    opened = open_trained(run, console, allow_code=allow_code)
    answer = answerer(opened)
    given = [Document(text, pair) for text, pair in zip_longest(texts, pairs)]
    documents: Iterable[Document] = given or _documents(opened.spec, str(input), console)
    rows = (
        texts_of(document) | given
        for chunk in _chunks(documents)
        for document, given in zip(chunk, map(_whole, answer(chunk)), strict=True)
    )
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


def _whole(given: dict[str, Any] | DataError) -> dict[str, Any]:
    if isinstance(given, DataError):
        raise given
    return given


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    documents = iter(documents)
    while chunk := list(islice(documents, CHUNK)):
        yield chunk


def _documents(spec: RunSpec, path: str, console: Console) -> Iterator[Document]:
    """A file's rows in the run's own columns, without labels; a model that was imported takes those that the file has."""
    known = next((source for source in spec.data.train.values() if hasattr(source, "columns")), None)
    candidates: Sequence[Mapping[str, str]] = COLUMNS
    if isinstance(known, Records):
        words = "words" if "tags" in known.columns else "text"
        read_roles = ("text", "words", "text_pair", "choices")
        own = {words if role == "text" else role: name for role, name in known.columns.items() if role in read_roles}
        candidates = (own, {"text": "text"}, own) if "words" in own else (own,)
    return from_lines(console.lines(), candidates) if path == "-" else read(source_of(Path(path), candidates, known))


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
        if isinstance(answer, str):
            yield answer
        else:
            yield from (f"  {name}: {line}" for line in _lines(answer))


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    """One answer for a reader; what tells it is which keys it has."""
    if "choice" in answer:
        yield f"{answer['choice']}  ({answer['place']}; {', '.join(f'{share:.3f}' for share in answer['probabilities'])})"
    elif "probabilities" in answer:
        shares = ", ".join(f"{label} {share:.3f}" for label, share in answer["probabilities"].items())
        said = answer["label"] if "label" in answer else ", ".join(answer["labels"]) or "no label"
        yield f"{said}  ({shares})"
    elif "text" in answer:
        yield answer["text"]
    elif "value" in answer or "score" in answer:
        yield f"{answer.get('value', answer.get('score')):.4f}"
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
