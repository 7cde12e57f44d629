"""The words for tokenizers: trained on data.train, or read from a `tokenizer.json`."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from lmkit.spec import LISTED, Count, PathText, Spec


class Trained(Spec):
    """What every trained tokenizer shares."""

    lowercase: bool = Field(False, description="Lower-cases before anything else.")
    normalization: Literal["none", "nfc", "nfkc"] = Field("nfc", description="Unicode normalization before anything else.")
    special_tokens: Annotated[tuple[Annotated[str, Field(min_length=2)], ...], LISTED] = Field(
        (), description="More tokens that no text gives, such as those of a chat template in Jinja; built-in templates bring theirs."
    )


class Sized(Trained):
    """A tokenizer whose vocabulary is grown to a size."""

    vocab_size: Count = Field(description="Rows of the token embedding, special tokens included.", examples=[8000])
    min_frequency: Count = Field(2, description="A piece must occur this often to become a token.")

    def rule_room_beside_specials(self) -> Iterator[tuple[str, str]]:
        if self.vocab_size < 16:
            yield "vocab_size", f"{self.vocab_size} leaves no room beside the special tokens; write 16 or more"


class Bpe(Sized):
    """Byte-level byte-pair encoding (GPT-2): any text round-trips exactly."""

    kind: Literal["bpe"] = "bpe"
    normalization: Literal["none", "nfc", "nfkc"] = Field("none", description="Unicode normalization before anything else.")

    def rule_room_for_bytes(self) -> Iterator[tuple[str, str]]:
        if self.vocab_size < 261:
            yield "vocab_size", f"{self.vocab_size} has no room for the 256 bytes and 5 special tokens; write 261 or more"


class WordPiece(Sized):
    """Greedy longest match inside words, continuations marked ## (BERT)."""

    kind: Literal["wordpiece"] = "wordpiece"


class Unigram(Sized):
    """The most probable segmentation under a unigram model of pieces (SentencePiece, Kudo 2018)."""

    kind: Literal["unigram"] = "unigram"


class Character(Trained):
    """One token for each character of the training text."""

    kind: Literal["character"] = "character"
    normalization: Literal["none", "nfc", "nfkc"] = Field("none", description="Unicode normalization before anything else.")
    min_frequency: Count = Field(1, description="A rarer character becomes the unknown token.")


class FromFile(Spec):
    """A tokenizer read from a `tokenizer.json` of the tokenizers library."""

    from_: PathText = Field(
        alias="from", examples=["tokenizer.json"], description="Path of the file, or of a folder or run that holds one."
    )


def _which(value: Any) -> str:
    if isinstance(value, dict):
        return "<from>" if "from" in value or "from_" in value else str(value.get("kind", "missing"))
    return "<from>" if isinstance(value, FromFile) else str(getattr(value, "kind", "missing"))


Tokenizer = Annotated[
    Annotated[Bpe, Tag("bpe")]
    | Annotated[WordPiece, Tag("wordpiece")]
    | Annotated[Unigram, Tag("unigram")]
    | Annotated[Character, Tag("character")]
    | Annotated[FromFile, Tag("<from>")],
    Discriminator(_which),
]
