"""One token for each character: the vocabulary of small experiments, nothing to learn but which characters occur."""

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, normalizers

from lmkit.text.corpus import count_characters
from lmkit.text.units import cut

SPECIALS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")


def train_character(texts: Iterable[str], *, min_frequency: int, normalizer: normalizers.Normalizer | None) -> tokenizers.Tokenizer:
    """Byte-pair encoding without pairs: every character of the text by code point, rarer ones become <unk>."""
    parts = (part for text in texts for part in cut(text, 2**16))
    if normalizer is not None:
        parts = (normalizer.normalize_str(part) for part in parts)
    counts = count_characters(parts)
    characters = sorted(c for c, count in counts.items() if count >= min_frequency)
    vocab = {piece: i for i, piece in enumerate([*SPECIALS, *characters])}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", fuse_unk=False))
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens(list(SPECIALS))
    return backend
