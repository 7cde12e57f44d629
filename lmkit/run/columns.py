"""Which fields of a file that is given beside a run hold what: as the command line says, or a proposal of what it should say."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from lmkit.data.roles import OPTIONAL, ROLES, fields_of, near
from lmkit.data.sources import first_record
from lmkit.data.spec import AnySource, Conll, Conllu, ConlluColumn, Csv, JsonLines, Parquet, Records, Tsv
from lmkit.errors import DataError, Problem, SpecError
from lmkit.run.purpose import PURPOSES

Columns = Mapping[str, str]
SEVERAL = ("choices",)  # roles that may stand in several fields, with one text each
USUAL = {
    role: [name for purpose in PURPOSES for name in {**purpose.roles, **purpose.more}.get(role, (None, ()))[1]] for role in ROLES
}  # names of fields


def columns_of(text: str) -> Columns:
    """`text=body,choices=a,choices=b` by role. Raises SpecError for anything else, and for a role that is none."""
    found: dict[str, str] = {}
    for part in text.split(","):
        role, sign, name = part.partition("=")
        if not (role and sign and name) or (role in found and role not in SEVERAL):
            what = f"expected ROLE=FIELD,..., each role once ({' and '.join(SEVERAL)} for each of its fields), got {text}"
            raise SpecError(Problem(what, "--columns", "command line"))
        if role not in ROLES:
            what = f"unknown role {role}{near(role, ROLES)}; the roles are {', '.join(ROLES)}"
            raise SpecError(Problem(what, "--columns", "command line"))
        found[role] = f"{found[role]}, {name}" if role in found else name
    return found


def with_columns(source: AnySource, asked: Columns, path: str) -> AnySource:
    """The source with these columns laid over its own: names of fields, or of CoNLL and CoNLL-U those of the words and the tags.

    Raises SpecError for columns of a file that has none, and for those that it cannot have.
    """
    if not asked:
        return source
    if isinstance(source, Records):
        return source.model_copy(update={"columns": {**source.columns, **asked}})
    if not isinstance(source, Conll | Conllu):
        raise SpecError(Problem("name fields, and this file has none", "--columns", path))
    known: dict[str, Any]
    if isinstance(source, Conll):
        known = {role: int(column) for role, column in asked.items() if re.fullmatch(r"-?\d+", column)}
    else:
        known = {role: column for role, column in asked.items() if column in get_args(ConlluColumn)}
    if not asked.keys() <= known.keys() & {"text", "tags"}:
        kind = "numbers, such as text=0,tags=-1" if isinstance(source, Conll) else "named, such as text=FORM,tags=UPOS"
        given = ",".join(f"{role}={column}" for role, column in asked.items())
        raise SpecError(Problem(f"this file has text and tags, in columns that are {kind}; got {given}", "--columns", path))
    return source.model_copy(update={"columns": {**source.columns, **known}})


def lacking(columns: Columns, fields: Collection[str]) -> dict[str, str]:
    """The roles, with their fields, of which records with these fields have not all."""
    return {role: name for role, name in columns.items() if role not in OPTIONAL and not set(fields_of({role: name})) <= set(fields)}


def require_fields(source: AnySource, path: Path, asked: Columns) -> None:
    """Raises DataError where a file's first record lacks fields that the source names; `asked` are those of the command line."""
    fields = list(first_record(source)) if isinstance(source, JsonLines | Csv | Tsv | Parquet) else []
    if fields and isinstance(source, Records) and lacking(source.columns, fields):
        raise DataError(missing(source.columns, fields, asked, str(path)))


def missing(columns: Columns, fields: Sequence[str], asked: Columns, where: str) -> Problem:
    """What the fields do not have of the columns, and the flag that names others."""
    wanted = lacking(columns, fields)
    what = f"no field {' and '.join(f'{name!r} for the {role}' for role, name in wanted.items())}"
    taken = {name for role in columns.keys() - wanted.keys() for name in fields_of({role: columns[role]})}
    parts = [*_named({role: name for role, name in asked.items() if role not in wanted}), *_proposed(wanted, fields, taken)]
    fix = ",".join(f"{role}={name or 'FIELD'}" for role, name in parts)
    say = "write" if all(name for _, name in parts) else "say which:"
    return Problem(f"{what}; the fields are {', '.join(map(repr, fields[:12]))}; {say} --columns {fix}", where=where)


def _named(columns: Columns) -> Iterator[tuple[str, str]]:
    return ((role, name) for role in columns for name in fields_of({role: columns[role]}))


def _proposed(wanted: Columns, fields: Sequence[str], taken: Collection[str]) -> Iterator[tuple[str, str]]:
    """For each role a field, or several, that nothing else is taken from; an empty name where none is like it."""
    free = {name.lower(): name for name in fields if name not in taken}
    for role, name in wanted.items():
        names = fields_of({role: name})
        found = [next(iter(get_close_matches(each.lower(), free, 1)), "") for each in names]
        if not all(found) or len(set(found)) < len(found):
            usual = next((each for each in (role, *USUAL[role]) if each in free), "")
            lone = next(iter(free)) if len(free) == 1 and len(wanted) == 1 else ""
            found = [usual] if usual or role not in SEVERAL else _numbered(free)
            found = found if any(found) else [lone]
        for each in found:
            yield role, free.pop(each, "")


def _numbered(names: Iterable[str]) -> list[str]:
    """The most names that differ in the number or letter at their end alone; none where there are no two such."""
    families: dict[str, list[str]] = {}
    for name in names:
        if found := re.fullmatch(r"(.*?)(\d+|[a-h])", name):
            families.setdefault(found.group(1), []).append(name)
    most = max(families.values(), key=len, default=[])
    return most if len(most) > 1 else []
