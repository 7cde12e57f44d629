"""`lmkit predict`: labels, numbers, vectors, entities, answers, texts or fillings for masks, from a run or a Hugging Face folder."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Literal

from lmkit.data.document import Document
from lmkit.data.files import sound
from lmkit.data.roles import conversational
from lmkit.data.sources import read_each
from lmkit.data.spec import JsonLines, Records
from lmkit.errors import DataError, Problem, SpecError
from lmkit.run.columns import Columns, require_fields, with_columns
from lmkit.run.console import Console
from lmkit.run.given import from_lines, opens, source_of
from lmkit.run.output import joined, json_line, kept_fields, require_writable, texts_of, whole_file
from lmkit.run.readable import readable
from lmkit.run.signals import watch
from lmkit.run.source import existing
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.spec import Classification, MaskedLm, MultipleChoice, QuestionAnswering, Regression, SentenceEmbedding, TwoSegments

CHUNK = 512  # rows in memory at once
# The fields that a file may have for a model that knows of none.
COLUMNS = (
    {"text": "text", "choices": "choices"},
    {"text": "question", "text_pair": "context"},
    {"text": "text", "text_pair": "text_pair"},
    {"text": "text"},
    {"words": "tokens"},
    {"words": "words"},
    {"text": "text"},
)
READ = ("text", "words", "text_pair", "choices")  # roles that answers are given to
# The fields of an answer to be scored, where pairs of answers were learned from.
ANSWERED = ({"prompt": "prompt", "response": "response"}, {"messages": "messages"}, {"text": "text"})

WITH_PAIRS = (Classification, Regression, TwoSegments, MaskedLm, QuestionAnswering, SentenceEmbedding)  # tasks that read two texts

Policy = Literal["fail", "skip", "null"]
Answered = Document | DataError


@dataclass(frozen=True)
class Asked:
    """What is answered, by what, and what becomes of it.

    Either `texts`, with `pairs` their second texts or none and `choices` among which each of them chooses, or the rows of `input` (`-`:
    standard input), whose fields `columns` may name. `tasks` answer, or all that can. `keep` are the fields of a record that go with its
    answers, or all of them; without, its `id`. `on_error` says what to do with a row that has no answer: fail, leave it out, or put
    null, the error, in its place. `output` is a file that appears when all rows are answered (`-`: standard output).
    """

    texts: Sequence[str] = ()
    pairs: Sequence[str] = ()
    input: str | None = None
    output: str | None = None
    columns: Columns = field(default_factory=dict)
    tasks: Sequence[str] = ()
    keep: Sequence[str] | Literal["all"] = ()
    on_error: Policy = "fail"
    batch_size: int | None = None
    as_json: bool = False
    choices: Sequence[str] = ()

    def require(self) -> None:
        """Raises SpecError for what contradicts itself, MachineError for an output that cannot be written."""
        if bool(self.texts) == bool(self.input):
            raise SpecError(Problem("give either --text or --input", where="command line"))
        for flag, given in (("--text", self.texts), ("--pair", self.pairs), ("--choice", self.choices)):
            if any(not text.strip() for text in given):
                raise SpecError(Problem("is empty; write a text", flag, "command line"))
        if self.pairs and len(self.pairs) != len(self.texts):
            raise SpecError(Problem(f"{len(self.pairs)} --pair for {len(self.texts)} --text; give one for each", where="command line"))
        if self.choices and not (self.texts and self.choices[1:]):
            raise SpecError(Problem("choices are two or more, and go with --text", "--choice", "command line"))
        if self.texts and (self.columns or self.keep):
            raise SpecError(Problem("goes with --input; a text has no fields", "--columns" if self.columns else "--keep", "command line"))
        if self.output not in (None, "-"):
            require_writable(Path(str(self.output)), Path(self.input) if self.input else None, "--output")


def predict(run: Path, asked: Asked, console: Console, *, allow_code: bool = False, dtype: str = "float32") -> int:
    """Answers every row, one JSON object a line, in the order of the rows; `--text` without an output is answered for a reader.

    Rows without an answer are counted on standard error, and those that are in a file. Raises DataError for the first without, where
    `on_error` is fail, SpecError where that is a text of the command line, and Interrupted after a signal; no part of a file is left
    then.
    """
    asked.require()
    existing(run)
    with console.quiet():
        from lmkit.inference.answers import answerer
        from lmkit.run.open import open_trained

    opened = open_trained(run, console, allow_code=allow_code, dtype=dtype)
    _require_use(opened.spec, asked)
    model = opened.answering
    with watch(console.err, saves=False) as stop:
        answer = answerer(replace(model, at_once=asked.batch_size or model.at_once, stop=stop), asked.tasks)
        among = tuple(asked.choices) or None
        given = [Document(text, pair, choices=among) for text, pair in zip_longest(asked.texts, asked.pairs)]
        documents: Iterable[Answered] = given or _documents(opened.spec, asked, console)
        unanswered: list[DataError] = []
        rows = answered(documents, answer, asked, unanswered.append)
        try:
            written = _written(rows, asked, console)
        except DataError as error:
            raise SpecError(*error.problems) if asked.texts else error from None
    skipped = asked.on_error == "skip"
    first = f"; the first: {unanswered[0]}" if unanswered else ""
    if asked.output not in (None, "-"):
        left = f", {len(unanswered):,} {'left out' if skipped else 'of them null'} without an answer{first}" if unanswered else ""
        console.err(f"{asked.output}: {written:,} row{'' if written == 1 else 's'} written{left}")
    elif unanswered:
        console.err(f"{len(unanswered):,} rows without an answer are {'left out' if skipped else 'null'}{first}")
    return 0


def _written(rows: Iterable[dict[str, Any]], asked: Asked, console: Console) -> int:
    """How many rows there were, each of them now where it was asked for."""
    number = 0
    if asked.output not in (None, "-"):
        with whole_file(Path(str(asked.output))) as write:
            for row in rows:
                write(row)
                number += 1
        return number
    said = readable if asked.texts and not asked.as_json and asked.output is None else lambda row: [json_line(row)]
    for row in rows:
        for line in said(row):
            console.out(line)
        number += 1
    return number


def _require_use(spec: RunSpec, asked: Asked) -> None:
    """Raises SpecError for texts of the command line that no task reads."""
    tasks = [task for name, task in spec.tasks.items() if not asked.tasks or name in asked.tasks]
    if asked.pairs and not any(isinstance(task, WITH_PAIRS) for task in tasks):
        raise SpecError(Problem("no task here reads a second text; leave it out", "--pair", "command line"))
    if asked.choices and not any(isinstance(task, MultipleChoice) for task in tasks):
        raise SpecError(Problem("no task here chooses among texts; leave it out", "--choice", "command line"))


def answered(
    documents: Iterable[Answered],
    answer: Callable[[Sequence[Document]], Sequence[dict[str, Any] | DataError]],
    asked: Asked,
    wrong: Callable[[DataError], None],
) -> Iterator[dict[str, Any]]:
    """A row for each document, in order, CHUNK of them at once; `wrong` hears of those that have no answer, unless these are raised."""
    documents = iter(documents)
    while chunk := list(islice(documents, CHUNK)):
        if asked.on_error == "fail":
            chunk = [sound(each) for each in chunk]
        answers = iter(answer([each for each in chunk if isinstance(each, Document)]))
        for each in chunk:
            kept: dict[str, Any] = {}
            try:
                document = sound(each)
                found = next(answers)
                kept = kept_fields(document, asked.keep)
                yield joined(kept, texts_of(document) | sound(found), document.where)
            except DataError as error:
                if asked.on_error == "fail":
                    raise
                wrong(error)
                if asked.on_error == "null":
                    yield kept | {"error": str(error)}


def _documents(spec: RunSpec, asked: Asked, console: Console) -> Iterator[Answered]:
    """A file's rows in the columns of the run, of which those are left out that say what is right; of an imported model, in those that
    the file has.

    Raises DataError where it has not the columns: for lines of JSON, which may each have others, only if the first error is to end all.
    """
    path = str(asked.input)
    bound = next((spec.tasks[name].data for name in asked.tasks if name in spec.tasks), None)
    sources = [spec.data.train[bound]] if bound else list(spec.data.train.values())
    known = next((source for source in sources if hasattr(source, "columns")), None)
    candidates: Sequence[Columns] = [asked.columns] if asked.columns else COLUMNS
    if isinstance(known, Records):
        own = _own_columns(known)
        fitting = [columns for columns in own if asked.columns.keys() <= columns.keys()]
        like = [columns for columns in own[:1] if conversational(columns) == conversational(asked.columns)]
        candidates = [{**columns, **asked.columns} for columns in fitting or like or [{}]]
        if all(isinstance(spec.tasks.get(name), SentenceEmbedding) for name in asked.tasks or spec.tasks):
            candidates += [{role: name for role, name in columns.items() if role != "text_pair"} for columns in candidates]
    if path == "-":
        return from_lines(console.lines(), candidates, asked.columns)
    source = source_of(Path(path), candidates, known)
    if not isinstance(source, Records):
        source = with_columns(source, asked.columns, path)
    if not opens(source) and (asked.on_error == "fail" or not isinstance(source, JsonLines)):
        require_fields(source, Path(path), asked.columns)
    return read_each(source, whole=True)


def _own_columns(known: Records) -> Sequence[Columns]:
    if "rejected" in known.columns:
        return (known.columns, *ANSWERED, known.columns)
    if conversational(known.columns):
        prompt, first = known.columns.get("prompt", "prompt"), ANSWERED[0]
        return ({**first, "prompt": prompt}, *ANSWERED[1:])
    words = "words" if "tags" in known.columns else "text"
    own = {words if role == "text" else role: name for role, name in known.columns.items() if role in READ}
    return (own, {"text": "text"}, own) if "words" in own else (own,)
