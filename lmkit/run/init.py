"""`lmkit init`: a commented spec to start from, taken from a shipped one or made for a data file."""

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

from lmkit.data.files import find, sound
from lmkit.data.sources import first_record, read_each
from lmkit.data.spec import Conll, Conllu
from lmkit.errors import Problem, SpecError
from lmkit.run.console import Console
from lmkit.run.given import FORMATS, aligned_of, ending_of, key_of
from lmkit.run.kind import KINDS, kind_of
from lmkit.run.purpose import LANGUAGE, QUESTIONS, WRITE, Purpose, purpose_of, purpose_of_tags
from lmkit.spec_file.load import plain_words
from lmkit.spec_file.plain_yaml import text_of
from lmkit.spec_file.recipes import headline, recipe, recipes

SENTENCES = {key_of(source): source for source in (Conll, Conllu)}
SPLITS = ("train", "training")  # tell nothing of the data; the folder's name does
FIRST = 64  # sentences whose tags tell what they are for


def init(start: str | None, *, output: Path | None, listing: bool, as_json: bool, console: Console, separator: str = "") -> int:
    """Writes the spec to standard output, or to a file that must not be there yet; as JSON, which specs may be, without comments.

    `separator` stands between the labels of a text in one field.
    """
    if listing and as_json:
        console.out(json.dumps({name: headline(path) for name, path in recipes().items()}, ensure_ascii=False, indent=2))
        return 0
    if listing:
        known = recipes()
        width = max(map(len, known), default=0)
        for name, path in known.items():
            console.out(f"{name:<{width}}  {headline(path)}")
        return 0
    text = spec_text(start or "quickstart", separator)
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


def spec_text(start: str, separator: str = "") -> str:
    """The text for a recipe's name, or for a data file."""
    path = Path(start)
    if ending_of(path) in KINDS or path.exists() or aligned_of(path, "RECIPE|DATA"):
        return for_data(path, separator)
    if separator:
        raise SpecError(Problem("is for a data file with several labels of a text", "--label-separator", "command line"))
    return recipe(start).read_text(encoding="utf-8")


def for_data(path: Path, separator: str = "") -> str:
    """A spec for one data file, or two that are aligned by line, of the task that its kind or its first records tell."""
    purpose, words = _read(path, separator)
    path = Path(words["text"]) if "target" in words else path
    stem = path.name.split(".")[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.absolute().parent.name if stem in SPLITS else stem).strip("-._") or "model"
    if separator and "labels" not in words.get("columns", {}):
        raise SpecError(Problem("is for several labels of a text, and no field of them is found", "--label-separator", str(path)))
    words |= {"label_separator": separator} if separator else {}
    data = [
        f"  train: {text_of(words)}",
        "  validation: {holdout: 5%}  # or a source of its own, like train",
    ]
    head = [
        f"# Made by `lmkit init` for {path.name}. `lmkit check` validates it, `lmkit show --origin` adds every default,",
        "# `lmkit data` shows examples as the model sees them, `lmkit train` trains.",
        f"name: {text_of(name)}",
    ]
    body = _decoder(purpose, data) if purpose.body in ("decoder", "chat") else _encoder(purpose, data)
    return "\n".join(head + [_aligned(line) for line in body]) + "\n"


def _read(path: Path, separator: str) -> tuple[Purpose, dict[str, Any]]:
    """What a file is for, and the words of a source that reads it. Raises DataError where its first record cannot be read."""
    aligned = aligned_of(path)
    if aligned is not None:
        find(aligned.paths, Path())
        return WRITE, {"text": aligned.text[0], "target": aligned.target[0]}
    kind = kind_of(path)
    if kind is None:
        known = f"known are {', '.join(KINDS)}, and text=FILE,target=FILE for two that are aligned by line"
        raise SpecError(Problem(f"is no kind of data file known here; {known}", where=str(path)))
    words = {kind: str(path)}
    if kind in SENTENCES:
        first = map(sound, islice(read_each(SENTENCES[kind].model_validate(words)), FIRST))
        return purpose_of_tags(tag for sentence in first for tag in sentence.tags or ()), words
    if kind in ("text", "squad"):
        return LANGUAGE if kind == "text" else QUESTIONS, words
    source = FORMATS[ending_of(path)]
    purpose, columns = purpose_of(first_record(source.model_validate(words)), separator)
    return purpose, {**words, "columns": columns}


def _aligned(line: str) -> str:
    text, sign, comment = line.partition("  # ")
    return f"{text.rstrip():<44}  # {comment}" if sign else line


def _decoder(purpose: Purpose, data: list[str]) -> list[str]:
    chat = purpose.body == "chat"
    return [
        *(["# model: {from: a pretrained decoder}  # instead of tokenizer and model below is far better"] if chat else []),
        "tokenizer: {kind: bpe, vocab_size: 8000}  # trained on data.train; also wordpiece, unigram, character",
        "data:",
        *data,
        *(["  chat_template: chatml  # how conversations become text; a pretrained tokenizer may bring its own"] if chat else []),
        f"  max_length: {512 if chat else 256}  # tokens in a row",
        "model:",
        "  kind: decoder  # encoder with task masked_lm makes a BERT",
        "  num_layers: 6",
        "  hidden_size: 384",
        "  num_heads: 6",
        "  position: rotary  # or learned, sinusoidal, alibi, none",
        "  norm: rms_norm  # or layer_norm",
        "  feed_forward: gated  # or dense",
        "  dropout: 0.1",
        "tasks:",
        f"  {purpose.task}",
        "training:",
        "  epochs: 3" if chat else "  steps: 5k  # or tokens: 2B, or epochs: 3",
        "  batch_size: 32  # rows in a step over all devices",
        "  optimizer:",
        "    kind: adamw",
        "    learning_rate: {kind: cosine, peak: 6e-4, floor: 10%, warmup: 5%}",
        "    weight_decay: 0.1",
        *([] if chat else ['logging: {samples: ["The "]}  # continued at each evaluation']),
    ]


def _encoder(purpose: Purpose, data: list[str]) -> list[str]:
    pairs = purpose.body == "encoder_decoder"
    return [
        *([] if pairs else ["# model: {from: runs/bert-small}  # a pretrained body instead of tokenizer and model below is far better"]),
        f"tokenizer: {{kind: {'bpe, vocab_size: 8000' if pairs else 'wordpiece, vocab_size: 8000, lowercase: true'}}}",
        "data:",
        *data,
        f"  max_length: {256 if pairs else 128}  # tokens in a row",
        "model:",
        f"  kind: {purpose.body}",
        f"  num_layers: {3 if pairs else 4}",
        "  hidden_size: 256",
        "  num_heads: 4",
        "  dropout: 0.1",
        "tasks:",
        f"  {purpose.task}",
        "training:",
        f"  epochs: {10 if pairs else 3}",
        "  batch_size: 32",
        "  optimizer: {kind: adamw, learning_rate: {kind: linear, peak: 3e-4, warmup: 10%}}",
        f"  early_stopping: {{monitor: {purpose.best}, patience: 3}}",
    ]
