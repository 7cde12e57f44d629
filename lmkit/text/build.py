"""The door of the text room: train a tokenizer as declared, or read one from a file."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import assert_never

import tokenizers
from tokenizers import AddedToken, normalizers, processors

from lmkit.errors import CheckpointError, DataError, Problem
from lmkit.text.bpe import train_bpe
from lmkit.text.character import train_character
from lmkit.text.folder import read_folder
from lmkit.text.pieces import fillers
from lmkit.text.roles import by_name
from lmkit.text.spec import Bpe, Character, FromFile, Sized, Trained, Unigram, WordPiece
from lmkit.text.spec import Tokenizer as TokenizerSpec
from lmkit.text.tokenizer import Tokenizer
from lmkit.text.unigram import train_unigram
from lmkit.text.wordpiece import train_wordpiece


def train_tokenizer(spec: TokenizerSpec, texts: Iterable[str], controls: Iterable[str] = ()) -> Tokenizer:
    """Learns the vocabulary of `spec` from the texts (or reads it, `{from: ...}`); the same texts give the same tokenizer.

    `controls` are special tokens beside those of the spec. A sized vocabulary has exactly `vocab_size` rows: where the texts
    give fewer pieces the rest are fillers no text produces. Raises DataError when there is no text.
    """
    if isinstance(spec, FromFile):
        return load_tokenizer(spec.from_)
    more = list(dict.fromkeys((*spec.special_tokens, *controls)))
    if isinstance(spec, Sized):
        smaller = spec.model_copy(update={"vocab_size": spec.vocab_size - len(more)})
        backend = _filled(_train(smaller, _at_least_one(texts)), smaller.vocab_size)
    else:
        backend = _train(spec, _at_least_one(texts))
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in more])
    backend.post_processor = _frame(backend)
    return Tokenizer(backend)


def _frame(backend: tokenizers.Tokenizer) -> processors.PostProcessor:
    """Rows as lmkit lays them, for all who open the file: bos A eos, bos A eos B eos."""
    roles = by_name(backend.token_to_id)
    bos, eos = (str(backend.id_to_token(roles[role])) for role in ("bos", "eos"))
    return processors.TemplateProcessing(
        single=f"{bos}:0 $A:0 {eos}:0", pair=f"{bos}:0 $A:0 {eos}:0 $B:1 {eos}:1", special_tokens=[(bos, roles["bos"]), (eos, roles["eos"])]
    )


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
        raise DataError(Problem("there is no text to train the tokenizer on; all of it is empty", "data.train"))


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
    """Reads a `tokenizer.json` with what stands beside it, or that of a folder or run; `vocab_size` adds rows without tokens.

    Truncation and padding that the file asks for are dropped. Raises CheckpointError for anything that is not such a file.
    """
    found = read_folder(Path(path).expanduser(), vocab_size)
    said = {"roles": found.roles, "template": found.template, "max_length": found.max_length, "ends": found.ends, "files": found.files}
    try:
        return Tokenizer(found.backend, found.rows, **said)  # type: ignore[arg-type]
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
