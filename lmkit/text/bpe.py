"""Byte-level byte-pair encoding (Sennrich 2016; bytes as in GPT-2): every text has ids and comes back exactly."""

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from lmkit.text.corpus import sample

SPECIALS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
SAMPLE = 2**28  # characters


def train_bpe(
    texts: Iterable[str], *, vocab_size: int, min_frequency: int, normalizer: tokenizers.normalizers.Normalizer | None
) -> tokenizers.Tokenizer:
    """Merges the most frequent pair again and again; all 256 bytes are in the vocabulary from the start."""
    backend = tokenizers.Tokenizer(models.BPE())
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(sample(texts, SAMPLE), trainer)
    return backend
