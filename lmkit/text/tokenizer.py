"""A tokenizer: text to ids and back, with the facts about each id that tasks and metrics need."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from lmkit.errors import CheckpointError, SpecError
from lmkit.text.pieces import byte_lengths, is_byte_level, is_filler, readable, word_starts
from lmkit.text.roles import ROLES, by_name
from lmkit.text.template import Row, Template, Truncate, template_of, wrapped
from lmkit.text.units import UnitCache, splits_before_space


class Tokenizer:
    """Wraps a `tokenizers.Tokenizer`; `vocab_size` is the number of embedding rows, never less than the ids in use.

    `.pad .unk .bos .eos .mask` are ids, -1 where the vocabulary has no such token; only `pad` always has one (eos or 0 where
    there is none: padding is never attended to). `template` is what stands around texts, `ends` are all ids that end one,
    `max_length` the longest row where something says so, `added` the tokens that are read before all else, each with whether
    it is special. `hash` names everything that decides ids.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        vocab_size: int | None = None,
        *,
        roles: Mapping[str, int] | None = None,
        template: Template | None = None,
        max_length: int | None = None,
        ends: Sequence[int] = (),
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        vocab = backend.get_vocab(with_added_tokens=True)
        used = max(vocab.values(), default=-1) + 1
        if vocab_size is not None and vocab_size < used:
            what = f"the tokenizer has ids up to {used - 1}, more than the {vocab_size} rows that vocab_size in config.json asks for"
            raise CheckpointError(what)
        self.vocab_size: int = vocab_size or used
        self._pieces: list[str | None] = [None] * self.vocab_size
        for piece, index in vocab.items():
            self._pieces[index] = piece
        self.unused: int = sum(piece is None or is_filler(piece) for piece in self._pieces)
        self._known = by_name(vocab.get)
        self.roles: dict[str, int] = dict(roles or self._known)
        self.unk, self.bos, self.eos, self.mask = (self.roles[role] for role in ("unk", "bos", "eos", "mask"))
        self.pad: int = self.roles["pad"] if self.roles["pad"] >= 0 else max(self.eos, 0)
        self.template = template or self._framed()
        self.max_length = max_length
        self.ends: tuple[int, ...] = tuple(dict.fromkeys(i for i in (self.eos, *ends) if i >= 0))
        self.files: dict[str, bytes] = dict(files or {})
        added = backend.get_added_tokens_decoder()
        self.added: dict[str, bool] = {token.content: token.special for token in added.values()}
        special = {index for index, token in added.items() if token.special}
        self.specials: frozenset[int] = frozenset(special | {i for i, p in enumerate(self._pieces) if p is None or is_filler(p)})

    @cached_property
    def hash(self) -> str:
        canonical = json.dumps(json.loads(self._json) | {"post_processor": None}, sort_keys=True)
        usual = self.roles == self._known and self.template == wrapped(self.bos, self.eos)
        unusual = "" if usual else f"\n{self.template}\n{sorted(self.roles.items())}"
        return hashlib.sha256(f"{self.vocab_size}\n{canonical}{unusual}".encode()).hexdigest()

    def require(self, role: str, purpose: str) -> int:
        """The id of a role, or a SpecError saying what needs it."""
        index = getattr(self, role)
        if index < 0:
            raise SpecError(f"{purpose} needs a {role} token and this tokenizer has none (looked for {', '.join(ROLES[role])})")
        return index

    def encode(self, texts: Sequence[str], *, specials: bool = True) -> list[np.ndarray]:
        """Ids of each text, int32, nothing added.

        `specials=True` reads a literal `[MASK]` as the mask token (prompts); `False` takes all text as text, so that a corpus
        cannot forge control tokens, and is many times faster on running text.
        """
        if specials:
            with _giving_up():
                return [np.array(e.ids, np.int32) for e in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]
        if self._units is not None:
            return self._units.encode(texts)
        return [np.array(ids, np.int32) for ids in self._encode_plain(list(texts))]

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special: bool = True) -> str:
        """Text of the ids; ids of padding rows give nothing."""
        kept = [int(i) for i in ids if not (skip_special and int(i) in self.specials)]
        return self._backend.decode(kept, skip_special_tokens=False)

    def spans(self, texts: Sequence[str], *, specials: bool = False) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each text what `encode` gives, and [n, 2] the first character of each token and the one behind it."""
        with _giving_up():
            found = (self._backend if specials else self._plain).encode_batch(list(texts), add_special_tokens=False)
        return [(np.array(e.ids, np.int32), np.array(e.offsets, np.int32).reshape(-1, 2)) for e in found]

    def rows(
        self,
        texts: Sequence[str],
        pairs: Sequence[str | None] | None = None,
        *,
        max_length: int | None = None,
        specials: bool = False,
        truncate: Truncate = "end",
    ) -> list[Row]:
        """The row of each text, or of a text and its pair, as the model was trained to read it, cut to `max_length`."""
        pairs = pairs or [None] * len(texts)
        first, second = self.encode(texts, specials=specials), self.encode([pair or "" for pair in pairs], specials=specials)
        return [
            self.template.row(a, None if pair is None else b, max_length=max_length, truncate=truncate)
            for a, b, pair in zip(first, second, pairs, strict=True)
        ]

    def piece(self, index: int) -> str:
        """How a token looks to a reader."""
        piece = self._pieces[index]
        return "<unused>" if piece is None else readable(piece, self._byte_level and index not in self.specials)

    @property
    def spaced(self) -> bool:
        """Whether pieces carry no blanks, so that a reader wants one between them (wordpiece)."""
        return self._scheme == "wordpiece"

    @cached_property
    def word_start(self) -> np.ndarray:
        """bool[V]: the id begins a word (a punctuation mark and a Chinese character are words)."""
        return word_starts(self._pieces, self.specials, self._scheme)

    @cached_property
    def byte_length(self) -> np.ndarray:
        """int32[V]: UTF-8 bytes of text each id stands for; 0 for specials. Wordpiece counts one space before each word."""
        return byte_lengths(self._pieces, self.specials, self._scheme)

    def index(self, token: str) -> int:
        """The id of a token as the tokenizer's own file writes it, -1 for none."""
        found = self._backend.token_to_id(token)
        return -1 if found is None else found

    def token(self, index: int) -> str:
        """How the tokenizer's own file writes a token."""
        return self._pieces[index] or ""

    @property
    def json(self) -> bytes:
        """The `tokenizer.json` of what is at work here."""
        return self._json.encode()

    def save(self, path: str | Path) -> None:
        """Writes one `tokenizer.json`; `text/export.py` knows the files beside it."""
        Path(path).write_bytes(self.json)

    def _framed(self) -> Template:
        processor = self._backend.post_processor
        return wrapped(self.bos, self.eos) if processor is None else template_of(json.loads(processor.__getstate__()))

    @cached_property
    def _json(self) -> str:
        return self._backend.to_str()

    @cached_property
    def _parts(self) -> dict[str, Any]:
        """What a tokenizer.json says beside the vocabulary."""
        made = json.loads(self._json)
        model = {key: value for key, value in made["model"].items() if key != "vocab"}
        return made | {"model": model | {"merges": bool(model.get("merges"))}}

    @cached_property
    def _scheme(self) -> str:
        if self._byte_level:
            return "bytes"
        return "wordpiece" if self._parts["model"].get("continuing_subword_prefix") == "##" else "text"

    @cached_property
    def _byte_level(self) -> bool:
        return is_byte_level(self._parts)

    @cached_property
    def _plain(self) -> tokenizers.Tokenizer:
        plain = tokenizers.Tokenizer.from_str(self._json)
        plain.encode_special_tokens = True
        return plain

    def _encode_plain(self, texts: list[str]) -> list[list[int]]:
        with _giving_up():
            return [e.ids for e in self._plain.encode_batch_fast(texts, add_special_tokens=False)]

    @cached_property
    def _units(self) -> UnitCache | None:
        return UnitCache(self._encode_plain) if splits_before_space(self._parts) else None


@contextmanager
def _giving_up() -> Iterator[None]:
    """Says in a line that the library panics, which is no Exception: it does so where a pattern of a foreign file takes too many steps."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(f"the tokenizer gives up on a text: {str(error)[:200]}") from None
