"""Where the text comes from, how it falls into documents and sentences, and how rows are made of it."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal, Self, get_origin

from pydantic import BeforeValidator, Discriminator, Field, Tag

from lmkit.data.roles import CONVERSATIONS, ROLES, SEPARATOR, conversational, near
from lmkit.spec import ONE_OR_MORE, Also, Count, Fraction, Name, PathText, Spec

FieldName = Annotated[
    str, BeforeValidator(lambda v: ", ".join(v) if isinstance(v, list) and all(isinstance(one, str) for one in v) else v, str | list[str])
]
Paths = Annotated[tuple[PathText, ...], ONE_OR_MORE]


class Source(Spec):
    """What every source shares."""

    sentence: Literal["line", "rules"] = Field(
        "rules", description="A sentence is a line, or ends at a Unicode terminator (Chinese included)."
    )
    weight: float | None = Field(None, gt=0, description="Share of this source in the mixture; default: all sources are one pool.")
    encoding_errors: Literal["fail", "replace"] = Field("fail", description="What to do with bytes that are not UTF-8.")
    max_record_bytes: Count = Field(8 * 2**20, description="A longer line or record is refused (bytes).")
    long_records: Literal["fail", "split"] = Field("fail", description="Split records over max_record_bytes instead of refusing them.")

    @property
    def paths(self) -> tuple[str, ...]:
        """Its files or globs; empty for a source that is no file."""
        return next((value for key in _SOURCES if isinstance(value := getattr(self, key, None), tuple)), ())

    def with_paths(self, change: Callable[[str], str]) -> Self:
        """The same source with each of its paths changed."""
        kept = {key: value for key in PATH_KEYS if isinstance(value := getattr(self, key, None), tuple)}
        return self.model_copy(update={key: tuple(map(change, paths)) for key, paths in kept.items()})


class TextFiles(Source):
    """Plain text; globs and `.gz` are understood."""

    text: Paths = Field(description="Files or globs.")
    document: Literal["file", "line", "blank_line"] = Field("file", description="What one document is.")


class Parallel(Source):
    """Plain text in pairs of files that are aligned by line; a line that is blank on either side is left out."""

    target: Paths = Field(description="Files or globs with what is to be written for each line of `text`.", examples=["train.de"])
    text: Paths = Field(description="Files or globs, a text a line.", examples=["train.en"])
    columns: ClassVar[dict[str, str]] = {"text": "text", "target": "target"}
    document: Literal["line"] = Field("line", description="One document is one line.")

    @property
    def paths(self) -> tuple[str, ...]:
        return self.text + self.target


class Questions(Source):
    """What sources share that may hold answers to questions."""

    wrong_answers: Literal["fail", "skip", "find"] = Field(
        "fail",
        description="What to do with a record whose answer does not stand where it says: refuse it, leave it out, or take the nearest "
        "place where the text stands.",
    )


class Records(Questions):
    """What sources with named fields share."""

    columns: dict[str, FieldName] = Field(
        {"text": "text"},
        description=f"Which of the file's fields hold what: `{'`, `'.join(ROLES)}`, each by its field; choices may be a list of fields.",
    )
    document: Literal["field"] = Field("field", description="The text field of each record is one document.")
    unlabelled: Literal["fail", "skip", "never"] = Field(
        "fail",
        description="What to do with a record whose label is null, empty or -1 where one is asked for: refuse it, or leave it out; "
        "`never`: -1 is a label like others.",
    )
    label_separator: str = Field(
        SEPARATOR,
        min_length=1,
        examples=["|"],
        description="What stands between the labels of a field that holds several as one text; a list, or a list as JSON, needs none.",
    )
    train_on: Literal["responses", "all", "last"] = Field(
        "responses", description="What a causal_lm learns of a conversation: what the assistant says, everything, or its last turn."
    )

    def rule_labels_are_separated(self) -> Iterator[tuple[str, str]]:
        if self.label_separator != SEPARATOR and "labels" not in self.columns:
            yield "label_separator", "is for several labels of a text; name their field, columns: {labels: ...}, or remove it"

    def rule_train_on_has_conversations(self) -> Iterator[tuple[str, str]]:
        if self.train_on != "responses" and not conversational(self.columns):
            yield "train_on", "is for conversations; name columns: {messages: ...}, or {prompt: ..., response: ...}"

    def rule_conversations_are_whole(self) -> Iterator[tuple[str, str]]:
        if not conversational(self.columns):
            return
        ways = [way for way in CONVERSATIONS if any(role in self.columns for role in way)]
        if len(ways) != 1 or not self.columns.keys() >= set(ways[0]):
            yield "columns", f"a conversation is just one of {', '.join(' and '.join(way) for way in CONVERSATIONS)}; name its fields"
        elif self.columns.keys() & {"text", "words"}:
            yield "columns", f"{' and '.join(ways[0])} stand for the text; remove text and words"
        elif "prompt" in self.columns and "messages" in self.columns:
            yield "columns.prompt", "messages are the whole conversation; remove it"
        elif "response" in self.columns and "prompt" not in self.columns:
            yield "columns", "nothing asks for the response; name the field of its prompt"

    def rule_columns(self) -> Iterator[tuple[str, str]]:
        for name in self.columns:
            if name not in ROLES:
                yield f"columns.{name}", f"unknown role {name}{near(name, ROLES)}; the roles are {', '.join(ROLES)}"
        if "text" not in self.columns and "words" not in self.columns and not conversational(self.columns):
            yield "columns", "no field is named for text; write for example columns: {text: body}"
        if self.columns.keys() >= {"text", "words"}:
            yield "columns.words", "is a list of words that stands for the text; remove it, or text"


class JsonLines(Records):
    """One JSON object a line, or a file that is one array of objects."""

    jsonl: Paths = Field(description="Files or globs.")


class Csv(Records):
    """Comma-separated values with a header line and double quotes (RFC 4180)."""

    csv: Paths = Field(description="Files or globs.")
    delimiter: str = Field(",", min_length=1, max_length=1)


class Tsv(Records):
    """Tab-separated values with a header line and no quoting."""

    tsv: Paths = Field(description="Files or globs.")


class Parquet(Records):
    """Apache Parquet tables."""

    parquet: Paths = Field(description="Files or globs.")


class Squad(Questions):
    """SQuAD's JSON, version 1.1 or 2.0: articles, paragraphs and questions."""

    squad: Paths = Field(description="Files or globs.")
    columns: ClassVar[dict[str, str]] = {"text": "question", "text_pair": "context", "answers": "answers"}
    document: Literal["question"] = Field("question", description="One document is one question with its paragraph.")


class Sentences(Source):
    """What sources with a word a line share; a blank line ends a sentence."""

    document: Literal["sentence"] = Field("sentence", description="One document is one sentence.")


class Conll(Sentences):
    """A word a line with its columns, which end at tabs or at blanks (CoNLL-2003, and two columns of any name)."""

    conll: Paths = Field(description="Files or globs.")
    columns: dict[str, int] = Field(
        {"text": 0, "tags": -1}, description="Which column holds the words (`text`) and which their `tags`: 0 is the first, -1 the last."
    )

    def rule_columns(self) -> Iterator[tuple[str, str]]:
        yield from _word_columns(self.columns, "{text: 0, tags: -1}")


ConlluColumn = Literal["FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "DEPREL", "MISC"]


class Conllu(Sentences):
    """Universal Dependencies' CoNLL-U: ten columns a word."""

    conllu: Paths = Field(description="Files or globs.")
    columns: dict[str, ConlluColumn] = Field(
        {"text": "FORM", "tags": "UPOS"}, description="Which column holds the words (`text`) and which their `tags`."
    )

    def rule_columns(self) -> Iterator[tuple[str, str]]:
        yield from _word_columns(self.columns, "{text: FORM, tags: UPOS}")


def _word_columns(columns: Iterable[str], example: str) -> Iterator[tuple[str, str]]:
    for name in columns:
        if name not in ("text", "tags"):
            yield f"columns.{name}", f"unknown role {name}{near(name, ('text', 'tags'))}; words have text and tags"
    if "text" not in columns:
        yield "columns", f"no column is named for text; write for example columns: {example}"


class HuggingFace(Records):
    """A dataset of the `datasets` library (`pip install lmkit[datasets]`), by hub id or local folder."""

    huggingface: str = Field(min_length=1, description="Hub id or local folder.")
    config: str | None = Field(None, description="Configuration name.")
    split: str = Field("train", description="Split name.")

    def with_paths(self, change: Callable[[str], str]) -> Self:
        local = self.huggingface.startswith((".", "/", "~")) or os.path.isdir(self.huggingface)
        return self.model_copy(update={"huggingface": change(self.huggingface)}) if local else self


class Builtin(Source):
    """Text that needs no file and no network."""

    builtin: Literal["python_reference"] = Field(description="The language reference inside every CPython (pydoc_data.topics).")


class Imported(Source):
    """Stands where a model was read from a foreign folder: it has weights and brings no text."""

    imported: str = Field(min_length=1, description="The folder that the model came from.")


class Holdout(Spec):
    """Validation text taken out of data.train: whole documents, or the tail where there is only one."""

    holdout: Fraction = Field(gt=0, lt=1, examples=["1%"], description="Share of the documents (or of the only document's tokens).")


_SOURCES: dict[str, type[Spec]] = {
    "target": Parallel,
    "text": TextFiles,
    "jsonl": JsonLines,
    "csv": Csv,
    "tsv": Tsv,
    "parquet": Parquet,
    "conll": Conll,
    "conllu": Conllu,
    "squad": Squad,
    "huggingface": HuggingFace,
    "builtin": Builtin,
    "imported": Imported,
}
_CHOSEN: dict[str, type[Spec]] = {"holdout": Holdout, **_SOURCES}
PATH_KEYS = tuple(key for key, cls in _SOURCES.items() if get_origin(cls.model_fields[key].annotation) is tuple)
SOURCE_KEYS = tuple(_CHOSEN)  # keys that say by being there what a source is


def _which(value: Any) -> str:
    if isinstance(value, dict):
        return next((f"<{key}>" for key in _CHOSEN if key in value), "missing")
    return next((f"<{key}>" for key, cls in _CHOSEN.items() if isinstance(value, cls)), "missing")


_Sources = (
    Annotated[Parallel, Tag("<target>")]
    | Annotated[TextFiles, Tag("<text>")]
    | Annotated[JsonLines, Tag("<jsonl>")]
    | Annotated[Csv, Tag("<csv>")]
    | Annotated[Tsv, Tag("<tsv>")]
    | Annotated[Parquet, Tag("<parquet>")]
    | Annotated[Conll, Tag("<conll>")]
    | Annotated[Conllu, Tag("<conllu>")]
    | Annotated[Squad, Tag("<squad>")]
    | Annotated[HuggingFace, Tag("<huggingface>")]
    | Annotated[Builtin, Tag("<builtin>")]
    | Annotated[Imported, Tag("<imported>")]
)
AnySource = Annotated[_Sources, Discriminator(_which)]
Validation = Annotated[Annotated[Holdout, Tag("<holdout>")] | _Sources, Discriminator(_which)]


LONE = "train"  # the name of a source that has none


def _name_the_only(value: Any) -> Any:
    """`{text: ...}` means one source, called LONE; a mapping of mappings names several."""
    if not isinstance(value, dict) or not value:
        return value
    mappings = [isinstance(entry, dict | Source) for entry in value.values()]
    lone = "columns" in value or not any(mappings) or (any(key in _SOURCES for key in value) and not all(mappings))
    return {LONE: value} if lone else value


class Data(Spec):
    """Sources and row making."""

    train: Annotated[dict[Name, AnySource], Also(_name_the_only, lambda first: next(iter(first["patternProperties"].values())))] = Field(
        min_length=1, description="One source, or a mapping of named sources.", examples=[{"text": "corpus/*.txt"}]
    )
    validation: Validation | None = Field(
        None, description="A source, for the tasks whose fields it names, or `{holdout: 1%}` of data.train."
    )
    max_length: Count = Field(512, ge=4, description="Tokens in a row, special tokens included.")
    max_target_length: Count | None = Field(
        None, ge=4, description="Tokens of a row that is written beside an encoder, special tokens included; default: max_length."
    )
    packing: bool | None = Field(
        None, description="Fill rows with several documents kept apart by segment; default: true for causal_lm and masked_lm alone."
    )
    buckets: Count = Field(6, le=16, description="At most so many row lengths are compiled.")
    chat_template: str | None = Field(
        None,
        min_length=1,
        examples=["chatml"],
        description="How conversations become text: `chatml`, `zephyr` or `plain`, a file that ends in .jinja, or Jinja text as tokenizers "
        "carry it; default: the tokenizer's own.",
    )

    @property
    def target_length(self) -> int:
        """The most tokens of a row that is written beside an encoder."""
        return self.max_target_length or self.max_length

    def untold(self, roles: Iterable[str]) -> list[str]:
        """Those of the roles for which data.validation, where it is a source of its own, names no field."""
        held = self.validation
        own = held is not None and not isinstance(held, Holdout)
        return [role for role in roles if own and role not in getattr(held, "columns", {})]

    def rule_chat_template(self) -> Iterator[tuple[str, str]]:
        if self.chat_template is not None:
            from lmkit.text.chat_templates import no_template

            if what := no_template(self.chat_template):
                yield "chat_template", what

    def rule_targets_are_no_longer(self) -> Iterator[tuple[str, str]]:
        if self.target_length > self.max_length:
            yield "max_target_length", f"{self.max_target_length} is longer than max_length = {self.max_length}; raise that, or lower this"

    def rule_weights(self) -> Iterator[tuple[str, str]]:
        weighted = [name for name, source in self.train.items() if source.weight is not None]
        if weighted and len(weighted) < len(self.train):
            missing = ", ".join(name for name in self.train if name not in weighted)
            yield "train", f"some sources have a weight and some have none; add one to {missing}"
