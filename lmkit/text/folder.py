"""A tokenizer's folder, Hugging Face's or a run's: tokenizer.json and the files beside it that say what its tokens are for."""

import json
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from lmkit.errors import CheckpointError
from lmkit.text.keras_hub import preset_files
from lmkit.text.roles import by_name, content, from_files, named, numbered
from lmkit.text.sentencepiece import NAMES
from lmkit.text.template import Template, repeated, template_of, wrapped
from lmkit.text.vocabularies import build

TOKENIZER = "tokenizer.json"
FACTS = "tokenizer_facts.json"  # in a run's folder: what other files of the folder it came from said
CONFIG, TOKENS = "tokenizer_config.json", "special_tokens_map.json"
TEMPLATE, TEMPLATES = "chat_template.jinja", "additional_chat_templates"
KEPT = (CONFIG, TOKENS, "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", TEMPLATE, "target.spm", *NAMES)
LARGEST_FILE = 64 * 2**20
MOST_TOKENS = 5_000_000
ENDLESS = 10**9  # transformers writes 1e30 for "no limit"


@dataclass(frozen=True)
class Folder:
    """What was read: the working tokenizer, and each file as it was for writing it again.

    `rows` is that of the token embedding, None where nothing says more than the tokenizer; `ends` are all ids that end a text.
    """

    backend: tokenizers.Tokenizer
    template: Template
    roles: dict[str, int]
    rows: int | None
    max_length: int | None
    ends: tuple[int, ...]
    files: dict[str, bytes]


@dataclass(frozen=True)
class Beside:
    """What the files beside a tokenizer.json say; all empty where it stands alone."""

    files: dict[str, bytes] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    special: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)  # of the model and of its generation
    longest: int | None = None

    @property
    def silent(self) -> bool:
        """Whether nothing is said, so that the names of tokens tell their roles."""
        return not (self.config or self.special or self.facts or any(self.models))

    def roles(self, find: Callable[[str], int | None], rows: int) -> dict[str, int]:
        return by_name(find) if self.silent else self.facts.get("roles") or from_files(find, self.special, self.models, rows)

    def ends(self, rows: int) -> tuple[int, ...]:
        return tuple(self.facts.get("ends") or numbered(self.models[::-1], "eos_token", rows))

    def template(self, processor: Mapping[str, Any] | None, roles: Mapping[str, int]) -> Template:
        """As the post_processor has it; flags of the config come before it, and a lone file without one means bos and eos."""
        if "add_bos_token" in self.config or "add_eos_token" in self.config:
            return repeated(*(roles[role] if self.config.get(f"add_{role}_token") else -1 for role in ("bos", "eos")))
        return wrapped(roles["bos"], roles["eos"]) if processor is None and self.silent else template_of(processor)


def read_folder(path: Path, rows: int | None = None) -> Folder:
    """Reads a tokenizer.json with what stands beside it, a folder of them, one with only a vocabulary, or a keras-hub preset.

    Truncation and padding that the file asks for are dropped, and so are added tokens from `rows` on, which no embedding has.
    Raises CheckpointError for anything that is no such file.
    """
    file = path / TOKENIZER if path.is_dir() else path
    given = preset_files(path, lambda name: _bytes(path / name), (TOKENIZER, FACTS, *KEPT)) if path.is_dir() else None

    def read(name: str) -> bytes | None:
        return _bytes(file.parent / name) if given is None else given.get(name)

    beside = _beside(file.parent, read) if file.name == TOKENIZER else Beside()
    rows = rows or beside.facts.get("vocab_size") or next((m["vocab_size"] for m in beside.models if "vocab_size" in m), None)
    if rows is not None and not (isinstance(rows, int) and 0 < rows <= MOST_TOKENS):
        raise CheckpointError(f"{path}: a vocabulary of {str(rows)[:30]} tokens is not read; at most {MOST_TOKENS}")
    data = read(file.name)
    if data is None and not (path.is_dir() and beside.files):
        raise CheckpointError(f"{file}: No such file or directory; a tokenizer is read from a tokenizer.json")
    try:
        backend = _backend(data, rows) if data is not None else _built(beside, file.parent)
        _declare(backend, beside.special)
        processor = json.loads(backend.post_processor.__getstate__()) if backend.post_processor else None
        ids = backend.get_vocab(with_added_tokens=True).values()
    except (KeyboardInterrupt, SystemExit, CheckpointError):
        raise
    except BaseException as error:  # the library's own panics are no Exception
        raise CheckpointError(f"{file}: is no tokenizer.json of the tokenizers library: {str(error)[:200]}") from None
    if not ids or max(ids) >= MOST_TOKENS:
        raise CheckpointError(f"{file}: has {'no tokens' if not ids else f'token ids up to {max(ids)}'}")
    last = rows or max(ids) + 1
    roles = beside.roles(backend.token_to_id, last)
    files = {} if beside.silent else ({TOKENIZER: data} if data is not None else {}) | beside.files
    return Folder(backend, beside.template(processor, roles), roles, rows, beside.longest, beside.ends(last), files)


def _beside(folder: Path, read: Callable[[str], bytes | None]) -> Beside:
    files = {name: data for name in KEPT if (data := read(name)) is not None}
    files |= {f"{TEMPLATES}/{p.name}": data for p in sorted((folder / TEMPLATES).glob("*.jinja")) if (data := _bytes(p)) is not None}
    config, tokens, facts, model, generation, sentence = (
        _mapping(read(name), folder / name)
        for name in (CONFIG, TOKENS, FACTS, "config.json", "generation_config.json", "sentence_bert_config.json")
    )
    said = (facts.get("max_length"), sentence.get("max_seq_length"), config.get("model_max_length"), config.get("max_len"))
    longest = next((length for length in said if isinstance(length, int | float)), 0)
    return Beside(
        files,
        config,
        named([config, tokens]),
        facts,
        [model.get("text_config") or model, generation],
        int(longest) if 0 < longest < ENDLESS else None,
    )


def leads_out(file: Path) -> bool:
    """Whether a file is a link out of its folder, other than to the blobs of the Hugging Face cache that the folder is in."""
    home, real = file.parent.resolve(), file.resolve()
    cached = real.parent.name == "blobs" and real.parent.parent in home.parents
    return file.is_symlink() and home not in real.parents and not cached


def _bytes(file: Path) -> bytes | None:
    try:
        status = file.stat()
    except OSError:
        return None
    if leads_out(file):  # it would be copied into runs and exports
        raise CheckpointError(f"{file}: is a link out of its folder; put the file itself there")
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{file}: is no regular file")
    if status.st_size > LARGEST_FILE:
        raise CheckpointError(f"{file}: has {status.st_size / 2**20:.0f} MiB; a {file.name} may have {LARGEST_FILE // 2**20}")
    return file.read_bytes()


def _mapping(data: bytes | None, file: Path) -> dict[str, Any]:
    if data is None:
        return {}
    try:
        made = json.loads(data)
        if not isinstance(made, dict):
            raise ValueError("is no mapping")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: cannot be read: {str(error)[:200]}") from None
    return made


def _backend(data: bytes, rows: int | None) -> tokenizers.Tokenizer:
    made = _checked(data)
    if rows is None or all(index < rows for index in made.get_added_tokens_decoder()):
        return made
    content = json.loads(data)
    content["added_tokens"] = [token for token in content.get("added_tokens") or () if token["id"] < rows]
    return tokenizers.Tokenizer.from_str(json.dumps(content))


def _checked(data: bytes) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_buffer(data)
    except ValueError:
        content = json.loads(data.decode("utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
            raise ValueError("there is no model in it") from None
        raise


def _built(beside: Beside, folder: Path) -> tokenizers.Tokenizer:
    backend = build(beside.files, beside.config, str(beside.models[0].get("model_type", "")), folder)
    _add(backend, beside.files, beside.config)
    return backend


def _add(backend: tokenizers.Tokenizer, files: Mapping[str, bytes], config: Mapping[str, Any]) -> None:
    """Adds the tokens that the files put behind a vocabulary."""
    added = {int(index): name for name, index in json.loads(files.get("added_tokens.json", b"{}")).items()}
    added |= {int(index): token for index, token in (config.get("added_tokens_decoder") or {}).items()}
    for index, token in sorted(added.items()):
        flags = {k: bool(v) for k, v in token.items() if k in ("lstrip", "rstrip", "normalized", "single_word", "special")}
        one = AddedToken(content(token), **flags) if isinstance(token, Mapping) else AddedToken(token)
        backend.add_special_tokens([one]) if one.special else backend.add_tokens([one])
        if backend.token_to_id(one.content) != index:
            raise ValueError(f"{one.content} cannot get the id {index}")


def _declare(backend: tokenizers.Tokenizer, special: Mapping[str, Any]) -> None:
    """Makes special what the files name as such and the vocabulary has: their text is then read as the token, as transformers does."""
    have = {token.content for token in backend.get_added_tokens_decoder().values()}
    for token in special.values():
        name = content(token)
        if name is not None and name not in have and backend.token_to_id(name) is not None:
            strip = token if isinstance(token, Mapping) else {}
            sides = {side: bool(strip.get(side)) for side in ("lstrip", "rstrip")}
            backend.add_special_tokens([AddedToken(name, special=True, normalized=False, **sides)])
            have.add(name)
