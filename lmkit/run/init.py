"""`lmkit init`: a commented spec to start from, taken from a shipped one or made for a data file."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

from lmkit.data.sources import first_record
from lmkit.data.spec import Parquet
from lmkit.errors import Problem, SpecError
from lmkit.run.console import Console
from lmkit.run.given import FORMATS, WORDS, Named, ending_of, is_squad_file, key_of
from lmkit.spec_file.load import plain_words
from lmkit.spec_file.plain_yaml import text_of
from lmkit.spec_file.recipes import headline, recipe, recipes

KINDS = {".txt": "text", ".md": "text", **{ending: key_of(source) for ending, source in (FORMATS | WORDS).items()}}
TEXT = ("text", "content", "body", "sentence", "review", "document", "sentence1", "premise", "question")
PAIR = ("text_pair", "sentence2", "hypothesis", "answer", "passage")
LABELLED = ("label: {kind: classification, metrics: [accuracy, f1]}", "label/f1")
TAGGED = ("tags: {kind: token_classification, metrics: [accuracy, f1]}", "tags/f1")
TASKS = {"conll": TAGGED, "conllu": TAGGED, "squad": ("answer: {kind: question_answering}", "answer/f1")}  # with what tells the best
LABEL = ("label", "labels", "class", "category", "stars", "rating", "sentiment", "target")


def init(start: str | None, *, output: Path | None, listing: bool, as_json: bool, console: Console) -> int:
    """Writes the spec to standard output, or to a file that must not be there yet; as JSON, which specs may be, without comments."""
    if listing and as_json:
        console.out(json.dumps({name: headline(path) for name, path in recipes().items()}, ensure_ascii=False, indent=2))
        return 0
    if listing:
        known = recipes()
        width = max(map(len, known), default=0)
        for name, path in known.items():
            console.out(f"{name:<{width}}  {headline(path)}")
        return 0
    text = spec_text(start or "quickstart")
    text = json.dumps(plain_words(text), ensure_ascii=False, indent=2) + "\n" if as_json else text
    if output is None:
        console.write(text)
        return 0
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SpecError(Problem("is there already; name another file", where=str(output))) from None
    except OSError as error:
        raise SpecError(Problem(f"cannot be written: {(error.strerror or str(error)).lower()}", where=str(output))) from None
    console.err(f"{output}: written; `lmkit check {output}`, then `lmkit train {output}`")
    return 0


def spec_text(start: str) -> str:
    """The text for a recipe's name, or for a data file."""
    path = Path(start)
    if ending_of(path) in KINDS or path.exists():
        return for_data(path)
    return recipe(start).read_text(encoding="utf-8")


def for_data(path: Path) -> str:
    """A spec for one data file: for the labels, tags or answers that it has, else a language model's."""
    kind = "squad" if is_squad_file(path) else KINDS.get(ending_of(path))
    if kind is None:
        raise SpecError(Problem(f"is no kind of data file known here; known are {', '.join(KINDS)}", where=str(path)))
    source = FORMATS.get(ending_of(path))
    roles = {} if source is None or kind == "squad" else _roles(_fields(path, source), path)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.split(".")[0]).strip("-._") or "model"
    words = {kind: str(path)} | ({"columns": roles} if roles else {})
    head = [
        f"# Made by `lmkit init` for {path.name}. `lmkit check` validates it, `lmkit show --origin` adds every default,",
        "# `lmkit data` shows examples as the model sees them, `lmkit train` trains.",
        f"name: {text_of(name)}",
    ]
    data = [
        "data:",
        f"  train: {text_of(words)}",
        "  validation: {holdout: 5%}  # or a source of its own, like train",
    ]
    task = TASKS.get(kind, LABELLED if "label" in roles else None)
    body = _language_model(data) if task is None else _encoder(data, *task)
    return "\n".join(head + [_aligned(line) for line in body]) + "\n"


def _aligned(line: str) -> str:
    text, sign, comment = line.partition("  # ")
    return f"{text.rstrip():<44}  # {comment}" if sign else line


def _language_model(data: list[str]) -> list[str]:
    return [
        "tokenizer: {kind: bpe, vocab_size: 8000}  # trained on data.train; also wordpiece, unigram, character",
        *data,
        "  max_length: 256  # tokens in a row",
        "model:",
        "  kind: decoder  # encoder with task masked_lm makes a BERT",
        "  num_layers: 6",
        "  hidden_size: 384",
        "  num_heads: 6",
        "  position: rotary  # or learned, sinusoidal, alibi, none",
        "  norm: rms_norm  # or layer_norm",
        "  feed_forward: gated  # or dense",
        "  dropout: 0.1",
        "tasks: {lm: causal_lm}",
        "training:",
        "  steps: 5k  # or tokens: 2B, or epochs: 3",
        "  batch_size: 32  # rows in a step over all devices",
        "  optimizer:",
        "    kind: adamw",
        "    learning_rate: {kind: cosine, peak: 6e-4, floor: 10%, warmup: 5%}",
        "    weight_decay: 0.1",
        'logging: {samples: ["The "]}  # continued at each evaluation',
    ]


def _encoder(data: list[str], task: str, monitor: str) -> list[str]:
    return [
        "# model: {from: runs/bert-small}  # a pretrained body instead of tokenizer and model below is far better",
        "tokenizer: {kind: wordpiece, vocab_size: 8000, lowercase: true}",
        *data,
        "  max_length: 128  # tokens in a row",
        "model:",
        "  kind: encoder",
        "  num_layers: 4",
        "  hidden_size: 256",
        "  num_heads: 4",
        "  dropout: 0.1",
        "tasks:",
        f"  {task}",
        "training:",
        "  epochs: 3",
        "  batch_size: 32",
        "  optimizer: {kind: adamw, learning_rate: {kind: linear, peak: 3e-4, warmup: 10%}}",
        f"  early_stopping: {{monitor: {monitor}, patience: 3}}",
    ]


def _fields(path: Path, source: type[Named]) -> dict[str, Any]:
    """The fields of the file's first record with its values."""
    found = source.model_validate({key_of(source): str(path)})
    return {} if isinstance(found, Parquet) else first_record(found)


def _roles(fields: dict[str, Any], path: Path) -> dict[str, str]:
    """Which field is the text, its pair and its label, by usual names; the longest text where no name is usual."""
    lower = {name.lower(): name for name in fields}
    roles = {}
    for role, names in (("text", TEXT), ("text_pair", PAIR), ("label", LABEL)):
        found = next((lower[name] for name in names if name in lower), None)
        if found is not None:
            roles[role] = found
    if "text" not in roles:
        texts = {name: value for name, value in fields.items() if name not in roles.values()}
        if not texts:
            return {"text": "text"}
        roles["text"] = max(texts, key=lambda name: len(str(texts[name])))
    order = itertools.chain(["text"], (role for role in roles if role != "text"))
    return {role: roles[role] for role in order}
