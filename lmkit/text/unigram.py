"""Unigram language-model pieces (Kudo 2018); blanks are written ▁, so that white space survives."""

import json
from collections.abc import Iterable

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from lmkit.text.corpus import common, count_characters, sample, without
from lmkit.text.units import WORDS

SPECIALS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
SAMPLE = 2**24  # characters; expectation maximisation goes over all of them several times
SPARE = 8  # rows that must remain beside single characters, or the trainer overshoots the size


def train_unigram(
    texts: Iterable[str], *, vocab_size: int, min_frequency: int, normalizer: normalizers.Normalizer | None
) -> tokenizers.Tokenizer:
    """Starts from all frequent substrings of words and prunes by likelihood; unknown characters become <unk>."""
    backend = tokenizers.Tokenizer(models.Unigram())
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.Metaspace(prepend_scheme="never", split=False),
        ]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme="never")
    parts = sample(texts, SAMPLE)
    if normalizer is not None:
        parts = [normalizer.normalize_str(part) for part in parts]
    counts = count_characters(parts)
    blanks = sum(c.isspace() for c in counts)
    kept = common(
        {c: n for c, n in counts.items() if not c.isspace()}, least=min_frequency, room=vocab_size - len(SPECIALS) - blanks - SPARE
    )
    trainer = trainers.UnigramTrainer(vocab_size=vocab_size, special_tokens=list(SPECIALS), unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(without(parts, kept, counts), trainer)
    made = json.loads(backend.to_str())
    made["model"]["vocab"] = settled(made["model"]["vocab"])
    return tokenizers.Tokenizer.from_str(json.dumps(made))


def settled(vocab: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The same pieces in an order and with scores that do not depend on the run.

    The trainer sums in the order of a randomised hash table, so scores differ in their last digits; and characters that its
    pruning lost come back with a ladder of invented scores, lowest + k/10000, in that same order. Scores are rounded and those
    characters all get the lowest.
    """
    specials, pieces = list(vocab[: len(SPECIALS)]), vocab[len(SPECIALS) :]
    lowest = min((score for _, score in pieces), default=0.0)

    def invented(piece: str, score: float) -> bool:
        steps = (score - lowest) * 1e4
        return len(piece) == 1 and abs(steps - round(steps)) < 1e-5

    scored = [(piece, round(lowest if invented(piece, score) else score, 6)) for piece, score in pieces]
    return specials + sorted(scored, key=lambda item: (-item[1], item[0]))
