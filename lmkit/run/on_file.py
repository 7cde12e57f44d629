"""A model's words with a file as its validation data: read as its run reads such, or, of an imported model, as it asks for itself."""

from collections.abc import Collection, Iterable
from pathlib import Path

from lmkit.data.roles import near
from lmkit.data.spec import AnySource, Holdout, Records
from lmkit.errors import DataError, Problem, SpecError
from lmkit.run.columns import Columns, require_fields, with_columns
from lmkit.run.given import ending_of, source_like, source_of
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.spec import ReplacedToken, SentenceEmbedding, TwoSegments


def on_file(spec: RunSpec, path: Path | None, columns: Columns, run: Path, tasks: Collection[str] = (), separator: str = "") -> RunSpec:
    """The words with these tasks, or all; with a file, it is data.validation of those that read the same source, and `columns` say
    what its fields hold, `separator` what stands between several labels, where the run does not say it.

    Raises DataError where the file lacks a field, and for an imported model without a file; SpecError for columns without one, and
    for a task that is none.
    """
    unknown = next((name for name in tasks if name not in spec.tasks), None)
    if unknown is not None:
        raise SpecError(
            Problem(f"is no task of this model{near(unknown, spec.tasks)}; it has {', '.join(spec.tasks)}", unknown, "command line")
        )
    spec = spec.model_copy(update={"tasks": {name: task for name, task in spec.tasks.items() if not tasks or name in tasks}})
    if path is None and columns:
        raise SpecError(Problem("say what the fields of a file are; add --data FILE", "--columns", "command line"))
    if path is None and separator:
        raise SpecError(Problem("say how the labels of a file are separated; add --data FILE", "--label-separator", "command line"))
    if path is None and spec.imported:
        raise DataError(Problem("the model was imported and brings no text; name a file with --data", where=str(run)))
    if path is None:
        return spec
    spec = _imported(spec, path, columns, run) if spec.imported else _trained(spec, path, columns)
    source = spec.data.validation
    if not separator:
        return spec
    if not isinstance(source, Records) or "labels" not in source.columns:
        raise SpecError(Problem("is for several labels of a text, and this model reads none here", "--label-separator", str(path)))
    return _validated_by(spec, source.model_copy(update={"label_separator": separator}))


def lengths(longest: int) -> tuple[int, ...]:
    """Powers of two up to the longest row."""
    return (*(n for n in (2**i for i in range(4, 32)) if n < longest), longest)


def _imported(spec: RunSpec, path: Path, columns: Columns, run: Path) -> RunSpec:
    tasks = {name: task for name, task in spec.tasks.items() if not (isinstance(task, ReplacedToken) and task.generator is None)}
    if not tasks:
        raise SpecError(Problem("replaced_token needs the generator that replaces tokens, and a folder holds none", "tasks", str(run)))
    roles = list(dict.fromkeys(role for task in tasks.values() for role in task.roles))
    rated = any(isinstance(task, SentenceEmbedding) for task in tasks.values())
    asked = {role: role for role in roles} | dict(columns)
    source = with_columns(source_of(path, [asked] if columns else usual_columns(roles, rated=rated)), columns, str(path))
    require_fields(source, path, columns)
    whole = not roles and not any(isinstance(task, TwoSegments) for task in tasks.values())
    data = spec.data.model_copy(update={"packing": whole})
    return _validated_by(spec.model_copy(update={"tasks": tasks, "data": data}), source)


def usual_columns(roles: Iterable[str], *, rated: bool = False) -> list[Columns]:
    """What the fields of a file may be called, the likeliest first: as their roles are, or as others call them.

    `rated` asks for values too, where there are such.
    """
    needed = {role: role for role in roles}
    if "tags" in needed:
        return [{"words": "tokens"} | needed, {"words": "words"} | needed, {"text": "text"} | needed]
    asked = [{"text": "question", "text_pair": "context"}] if "answers" in needed else []
    each: list[Columns] = [needed | text for text in (*asked, {"text": "text", "text_pair": "text_pair"}, {"text": "text"})]
    return [*({**columns, "value": "value"} for columns in each if rated), *each]


def _validated_by(spec: RunSpec, source: AnySource) -> RunSpec:
    return spec.model_copy(update={"data": spec.data.model_copy(update={"validation": source})})


def _trained(spec: RunSpec, path: Path, columns: Columns) -> RunSpec:
    """The file is read as the run's validation data, or as the source that the first task reads where that alone has files of this
    ending; where there is no such data, for the tasks that read that source too.
    """
    name = next(iter(spec.tasks.values())).data or next(iter(spec.data.train))
    like, tasks = spec.data.validation, spec.tasks
    if like is None or isinstance(like, Holdout):
        like = spec.data.train[name]
        tasks = {each: task for each, task in tasks.items() if task.data in (None, name)}
    known = (like, spec.data.train[name])
    like = next((one for one in known if ending_of(path) in map(ending_of, one.paths)), like)
    source = with_columns(source_like(like, path), columns, str(path))
    require_fields(source, path, columns)
    told = getattr(source, "columns", {"text": ""})
    if all(any(role not in told for role in task.roles) for task in tasks.values()):
        asked = dict.fromkeys(role for task in tasks.values() for role in task.roles)
        raise DataError(Problem(f"holds {', '.join(told)}, and the run is evaluated by {', '.join(asked)}", where=str(path)))
    return _validated_by(spec.model_copy(update={"tasks": tasks}), source)
