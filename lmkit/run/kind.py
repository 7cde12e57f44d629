"""What kind of data a file is: its ending tells, or what stands in it."""

from itertools import islice
from pathlib import Path

from lmkit.data.conll import sentences, split
from lmkit.data.files import find, lines
from lmkit.data.spec import Conll, Conllu, Source
from lmkit.errors import DataError
from lmkit.run.given import FORMATS, WORDS, ending_of, is_squad_file, key_of
from lmkit.scores.tags import ENTITY_TAG

KINDS = {".txt": "text", ".md": "text", **{ending: key_of(source) for ending, source in (FORMATS | WORDS).items()}}
UNSURE = (None, "text", "tsv", "conll")  # of which words with tags may be
LONGEST = int(Source.model_fields["max_record_bytes"].default)
FIELDS = 10  # of a word in CoNLL-U


def kind_of(path: Path) -> str | None:
    """The key of the source that reads a file, None where nothing tells. Raises DataError where there is none, or an empty one."""
    kind = KINDS.get(ending_of(path))
    first = find([str(path)], Path())[0]
    if is_squad_file(first):
        return "squad"
    return _words(first, kind) or kind if kind in UNSURE else kind


def _words(path: Path, kind: str | None) -> str | None:
    """CoNLL or CoNLL-U where the first sentence is in columns: ten and a number, or several with a tag in the last.

    What ends as a table has tags of any kind where a blank line ends that sentence; one that names its columns has none.
    """
    try:
        found = list(islice(sentences(path, lines(path, longest=LONGEST), LONGEST), 2))
    except DataError:
        return None  # its reader says why
    rows = [split(line, "\t" in line) for _, line in found[0] if not line.startswith("#")] if found else []
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths == {1}:
        return None
    if widths == {FIELDS} and all(row[0][:1].isdigit() for row in rows):
        return key_of(Conllu)
    tagged = all(ENTITY_TAG.fullmatch(row[-1]) for row in rows)
    return key_of(Conll) if tagged or (kind == "tsv" and len(found) > 1) else None
