"""The door of the text room: train a tokenizer as declared, or read one from a file."""

import json
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import assert_never

import tokenizers
from tokenizers import normalizers

from lmkit.errors import CheckpointError, DataError
from lmkit.text.bpe import train_bpe
from lmkit.text.character import train_character
from lmkit.text.pieces import fillers
from lmkit.text.spec import Bpe, Character, FromFile, Sized, Trained, Unigram, WordPiece
from lmkit.text.spec import Tokenizer as TokenizerSpec
from lmkit.text.tokenizer import Tokenizer
from lmkit.text.unigram import train_unigram
from lmkit.text.wordpiece import train_wordpiece

LARGEST_FILE = 64 * 2**20
MOST_TOKENS = 5_000_000


def train_tokenizer(spec: TokenizerSpec, texts: Iterable[str]) -> Tokenizer:
    """Learns the vocabulary of `spec` from the texts (or reads it, `{from: ...}`); the same texts give the same tokenizer.

    A sized vocabulary has exactly `vocab_size` rows: where the texts give fewer pieces the rest are fillers no text produces.
    Raises DataError when there is no text.
    """
    if isinstance(spec, FromFile):
        return load_tokenizer(spec.from_)
    backend = _train(spec, _at_least_one(texts))
    if isinstance(spec, Sized):
        backend = _filled(backend, spec.vocab_size)
    return Tokenizer(backend)


def _train(spec: Bpe | WordPiece | Unigram | Character, texts: Iterable[str]) -> tokenizers.Tokenizer:
    normalizer = _normalizer(spec)
    match spec:
        case Bpe():
            return train_bpe(texts, vocab_size=spec.vocab_size, min_frequency=spec.min_frequency, normalizer=normalizer)
        case WordPiece():
            return train_wordpiece(
                texts,
                vocab_size=spec.vocab_size,
                min_frequency=spec.min_frequency,
                lowercase=spec.lowercase,
                normalizer=normalizer,
            )
        case Unigram():
            return train_unigram(texts, vocab_size=spec.vocab_size, min_frequency=spec.min_frequency, normalizer=normalizer)
        case Character():
            return train_character(texts, min_frequency=spec.min_frequency, normalizer=normalizer)
        case _:
            assert_never(spec)


def _normalizer(spec: Trained) -> normalizers.Normalizer | None:
    steps: list[normalizers.Normalizer] = []
    if spec.normalization != "none":
        steps.append(normalizers.NFC() if spec.normalization == "nfc" else normalizers.NFKC())
    if spec.lowercase and not isinstance(spec, WordPiece):
        steps.append(normalizers.Lowercase())
    return normalizers.Sequence(steps) if steps else None


def _at_least_one(texts: Iterable[str]) -> Iterator[str]:
    found = False
    for text in texts:
        if text.strip():
            found = True
            yield text
    if not found:
        raise DataError("there is no text to train the tokenizer on")


def _filled(backend: tokenizers.Tokenizer, vocab_size: int) -> tokenizers.Tokenizer:
    """The same tokenizer with pieces that no text gives, up to `vocab_size`: the file then remembers the size."""
    missing = vocab_size - backend.get_vocab_size()
    if missing <= 0:
        return backend
    made = json.loads(backend.to_str())
    vocab = made["model"]["vocab"]
    if isinstance(vocab, list):
        lowest = min(score for _, score in vocab)
        vocab.extend([piece, lowest] for piece in fillers(missing))
    else:
        vocab.update((piece, vocab_size - missing + i) for i, piece in enumerate(fillers(missing)))
    return tokenizers.Tokenizer.from_str(json.dumps(made))


def load_tokenizer(path: str | Path, vocab_size: int | None = None) -> Tokenizer:
    """Reads a `tokenizer.json`, or that of a folder or run; `vocab_size` adds rows without tokens.

    Truncation and padding that the file asks for are dropped. Raises CheckpointError for anything that is not such a file.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / "tokenizer.json"
    try:
        status = file.stat()
    except OSError as error:
        raise CheckpointError(f"{file}: {error.strerror or error}; a tokenizer is read from a tokenizer.json") from None
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{file}: is no regular file")
    if status.st_size > LARGEST_FILE:
        raise CheckpointError(f"{file}: has {status.st_size / 2**20:.0f} MiB; a tokenizer.json may have {LARGEST_FILE // 2**20}")
    try:
        text = file.read_text(encoding="utf-8")
        made = json.loads(text)
        if not isinstance(made, dict) or not isinstance(made.get("model"), dict):
            raise ValueError("there is no model in it")
        made["truncation"] = made["padding"] = None
        backend = tokenizers.Tokenizer.from_str(json.dumps(made))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library's own panics are no Exception
        raise CheckpointError(f"{file}: is no tokenizer.json of the tokenizers library: {str(error)[:200]}") from None
    ids = backend.get_vocab(with_added_tokens=True).values()
    if not ids or max(ids) >= MOST_TOKENS:
        raise CheckpointError(f"{file}: has {'no tokens' if not ids else f'token ids up to {max(ids)}'}")
    return Tokenizer(backend, vocab_size)
