"""How a text is continued: plain words that the command line, or a foreign folder's own habits, fill in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

EarlyStopping = bool | Literal["never"]


@dataclass(frozen=True)
class Settings:
    """Meanings follow transformers' generation settings; the defaults change nothing.

    What is drawn from: `temperature` 0 is greedy; `top_k` and `top_p` keep the most probable tokens, `min_p` those at least
    that share as probable as the best. What may come, looking at the prompt and what was drawn: `repetition_penalty` above 1
    makes tokens that were there less likely; no `no_repeat_ngram` tokens in a row come twice (0: they may); no text ends
    before `min_tokens` new ones, or before `min_length` with the prompt; `bad_words` are sequences that are never completed,
    `suppressed` tokens never come, `suppressed_first` never come first. `forced_first` is the second token of the whole, one
    of `forced_last` the last token that may be drawn. `renormalize` makes log probabilities of what the rules leave. `end`
    tokens end a text; `start` begins what a decoder beside an encoder writes. `beams` above 1 searches for the most probable
    text instead of drawing; its score is the sum of log probabilities divided by length ** `length_penalty`.
    `early_stopping` True ends when as many texts as beams are complete, False when no better one is likely, "never" when
    none is possible. `texts` is how many are returned of each prompt.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    min_tokens: int = 0
    min_length: int = 0
    bad_words: Sequence[Sequence[int]] = ()
    suppressed: Sequence[int] = ()
    suppressed_first: Sequence[int] = ()
    forced_first: int | None = None
    forced_last: Sequence[int] = ()
    renormalize: bool = False
    end: Sequence[int] = ()
    start: int | None = None
    beams: int = 1
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = False
    texts: int = 1

    @property
    def greedy(self) -> bool:
        return self.temperature == 0 or self.top_k == 1
