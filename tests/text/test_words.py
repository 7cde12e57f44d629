"""Words of running text: at blanks, each mark and each ideograph by itself, whatever pieces a tokenizer makes."""

from typing import Any

import pytest

from lmkit.text.build import train_tokenizer
from lmkit.text.spec import Bpe, Character, Unigram, WordPiece
from lmkit.text.words import behind_marks, first_tokens, split_words

TEXT = "(Ann-Marie of Zürich jumps over 12.5 dogs! 北京,"
WORDS = ["(", "Ann", "-", "Marie", "of", "Zürich", "jumps", "over", "12", ".", "5", "dogs", "!", "北", "京", ","]
CORPUS = [TEXT, "unbelievable dogs jump over Zürich, 东京 and 南北."] * 20


@pytest.mark.parametrize(
    "words", [WordPiece(vocab_size=120), Bpe(vocab_size=300), Unigram(vocab_size=90), Character()], ids=lambda w: w.kind
)
def test_running_text_falls_into_words(words: Any) -> None:
    tokenizer = train_tokenizer(words, CORPUS)
    ((ids, spans),) = tokenizer.spans([TEXT])
    opens = tokenizer.word_start[ids] | (not tokenizer.spaced and behind_marks(TEXT, spans))
    found = split_words(TEXT, spans, opens)
    assert [TEXT[a:b] for a, b in found] == WORDS
    first = first_tokens(found, spans)
    assert (first >= 0).all() and opens[first].all()
    assert [TEXT[a:b].strip()[:1] for a, b in spans[first]] == [word[0] for word in WORDS]
