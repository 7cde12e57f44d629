"""WordPiece (Schuster 2012, BERT): words at white space and punctuation, each Chinese character a word, continuations marked ##."""

import json
from collections.abc import Iterable

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from lmkit.text.corpus import common, count_characters, inside_words, sample, without

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SAMPLE = 2**28  # characters
# Chinese and Japanese are written without blanks between words and around their marks.
UNSPACED = r"^ (?=[\p{Han}\p{Hiragana}\p{Katakana}。！？；：，、…—「」『』（）《》〈〉“”‘’])"


def train_wordpiece(
    texts: Iterable[str], *, vocab_size: int, min_frequency: int, lowercase: bool, normalizer: normalizers.Normalizer | None
) -> tokenizers.Tokenizer:
    """Merges pieces inside words by frequency; reading is greedy longest match, a word with an unknown character is [UNK]."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bert = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=lowercase)
    backend.normalizer = bert if normalizer is None else normalizers.Sequence([normalizer, bert])
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.Sequence([decoders.WordPiece(prefix="##", cleanup=True), decoders.Replace(Regex(UNSPACED), "")])

    parts = [backend.normalizer.normalize_str(part) for part in sample(texts, SAMPLE)]
    counts = {c: n for c, n in count_characters(parts).items() if not c.isspace()}
    inside = inside_words(parts)
    kept = common(counts, least=min_frequency, room=vocab_size - len(SPECIALS), twice=inside)
    continuations = ["##" + c for c in sorted(inside & kept)]

    # The trainer numbers continuations in the order of a randomised hash table and breaks ties by number. Naming them first, as
    # if they were special, gives every run the same vocabulary.
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=[*SPECIALS, *continuations], show_progress=False
    )
    backend.train_from_iterator(without(parts, kept, counts), trainer)
    made = json.loads(backend.to_str())
    made["added_tokens"] = [token for token in made["added_tokens"] if token["content"] in SPECIALS]
    return tokenizers.Tokenizer.from_str(json.dumps(made))
