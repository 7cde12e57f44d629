"""Rows of a batch as a reader wants to see them: the pieces the model reads, and which of them the loss counts."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lmkit.data.batches import Batch
from lmkit.tasks.spec import (
    AnyTask,
    CausalLm,
    Classification,
    DirectPreference,
    MaskedLm,
    MultipleChoice,
    NextSentence,
    PrefixLm,
    QuestionAnswering,
    Regression,
    ReplacedToken,
    Reward,
    SentenceEmbedding,
    Seq2seq,
    TokenClassification,
    TwoSegments,
)
from lmkit.text.tokenizer import Tokenizer

LONGEST = 1500  # characters of one row
TAGS = 60  # of one row
GREEN, GREY, RED, BOLD, END = "\x1b[32m", "\x1b[90m", "\x1b[31m", "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True)
class Painter:
    """Marks what the loss counts: by colour on a terminal, by braces elsewhere."""

    colour: bool

    def legend(self, causal: bool, sided: bool = False) -> str:
        if sided:
            return f"the encoder reads; what the decoder writes is {self.predicted('predicted from what stands before it')}"
        if self.colour:
            counted = "predicted from what stands before it" if causal else f"{RED}what stands there{END} > {GREEN}what is to be predicted"
            return f"{GREEN}{counted}{END}, {GREY}read only{END}"
        return (
            "{read only}; all else is predicted from what stands before it" if causal else "{what stands there > what is to be predicted}"
        )

    def predicted(self, piece: str) -> str:
        return f"{GREEN}{piece}{END}" if self.colour else piece

    def read(self, piece: str, causal: bool) -> str:
        if self.colour:
            return f"{GREY}{piece}{END}"
        return f"{{{piece}}}" if causal else piece

    def hidden(self, piece: str, label: str) -> str:
        return f"{RED}{piece}{END} > {GREEN}{label}{END}" if self.colour else f"{{{piece} > {label}}}"

    def title(self, text: str) -> str:
        return f"{BOLD}{text}{END}" if self.colour else text


def show_row(
    batch: Batch,
    row: int,
    tasks: Mapping[str, AnyTask],
    tokenizer: Tokenizer,
    labels: Mapping[str, tuple[str, ...]],
    painter: Painter,
) -> Iterator[str]:
    """Two lines for one row: its pieces, and what they are made of, with the labels of the whole row; of two sides, those of each."""
    used = np.flatnonzero(batch["segments"][row])
    causal = leftwards(tasks.values(), batch)
    hidden, counted = _targets(batch, row, tasks)

    def paint(at: int, piece: str) -> str:
        if at in hidden:
            return painter.hidden(piece, _text(tokenizer, hidden[at]))
        return painter.predicted(piece) if counted[at] else painter.read(piece, causal)

    yield ("reads: " if sided(batch) else "") + _pieces(batch["tokens"][row], used, tokenizer, paint)
    segments, padding = len(np.unique(batch["segments"][row, used])), batch["tokens"].shape[1] - len(used)
    notes = [f"{len(used)} tokens", f"{segments} segment{'s' if segments != 1 else ''}", f"{padding} padding"]
    yield "; ".join([*notes, *_labels(batch, row, tasks, labels, tokenizer)])
    for name in tasks if sided(batch) else ():
        learned = batch[f"{name}/labels"]
        used = np.flatnonzero(batch[f"{name}/weights"][row])
        yield "writes: " + _pieces(learned[row], used, tokenizer, lambda at, piece: painter.predicted(piece))
        yield f"{len(used)} tokens; {learned.shape[1] - len(used)} padding"


def leftwards(tasks: Iterable[AnyTask], batch: Batch) -> bool:
    """Whether tokens of the rows are predicted from those before them."""
    return not sided(batch) and any(isinstance(task, CausalLm | PrefixLm | Seq2seq | DirectPreference | Reward) for task in tasks)


def sided(batch: Batch) -> bool:
    """Whether a decoder writes to what an encoder reads."""
    return "decoder/tokens" in batch


def _pieces(tokens: np.ndarray, places: np.ndarray, tokenizer: Tokenizer, paint: Callable[[int, str], str]) -> str:
    """The tokens at these places of a row, each as it is painted, up to LONGEST characters."""
    shown: list[str] = []
    size, previous = 0, -1
    for at in places.tolist():
        index = int(tokens[at])
        text = _text(tokenizer, index)
        apart = tokenizer.spaced and shown and (tokenizer.word_start[index] or previous in tokenizer.specials)
        shown.append((" " if apart else "") + paint(at, text))
        previous = index
        size += len(text)
        if size > LONGEST:
            break
    rest = len(places) - len(shown)
    return "".join(shown) + (f" ... and {rest} more tokens" if rest else "")


def _targets(batch: Batch, row: int, tasks: Mapping[str, AnyTask]) -> tuple[dict[int, int], np.ndarray]:
    """What is hidden (place -> token), and bool[T]: the token here is predicted from those before it."""
    hidden: dict[int, int] = {}
    counted = np.zeros(batch["tokens"].shape[1] + 1, bool)
    for name, task in tasks.items():
        if isinstance(task, MaskedLm | ReplacedToken):
            keys = ("where", "labels", "weights") if isinstance(task, MaskedLm) else ("where", "hidden", "shares")
            places = (batch[f"{name}/{key}"][row].tolist() for key in keys)
            hidden |= {at: label for at, label, weight in zip(*places, strict=True) if weight}
        elif leftwards([task], batch):
            counted[1:] |= batch[f"{name}/{'weights' if isinstance(task, CausalLm | PrefixLm | Seq2seq) else 'counted'}"][row] > 0
    return hidden, counted


def _labels(
    batch: Batch, row: int, tasks: Mapping[str, AnyTask], labels: Mapping[str, tuple[str, ...]], tokenizer: Tokenizer
) -> Iterator[str]:
    for name, task in tasks.items():
        if isinstance(task, Classification) and task.multi_label:
            right = np.flatnonzero(batch[f"{name}/labels"][row])
            yield f"{name}: " + (", ".join(labels[name][number] for number in right) or "no label")
        elif isinstance(task, Classification | TwoSegments):
            number = int(batch[f"{name}/labels"][row])
            told = ("follows", "from elsewhere") if isinstance(task, NextSentence) else ("in order", "exchanged")
            known = labels[name] if isinstance(task, Classification) else told
            yield f"{name}: {number} ({known[number]})"
        elif isinstance(task, MultipleChoice):
            yield f"{name}: choice {int(batch[f'{name}/labels'][row])} of {int(batch[f'{name}/choices'][row].sum())}"
        elif isinstance(task, SentenceEmbedding) and task.loss == "cosine":
            yield f"{name}: cosine {batch[f'{name}/labels'][row]:g}"
        elif isinstance(task, Regression):
            yield f"{name}: {batch[f'{name}/labels'][row]:g}"
        elif isinstance(task, QuestionAnswering):
            first, last = batch[f"{name}/labels"][row].tolist()
            answer = _pieces(batch["tokens"][row], np.arange(first, last + 1), tokenizer, lambda at, piece: piece)
            yield f"{name}: " + (f"tokens {first} to {last}, {answer}" if last else "no answer here")
        elif isinstance(task, TokenClassification):
            counted = batch[f"{name}/weights"][row] > 0
            yield f"{name}: " + " ".join(labels[name][number] for number in batch[f"{name}/labels"][row][counted][:TAGS])


def _text(tokenizer: Tokenizer, index: int) -> str:
    piece = tokenizer.piece(index)
    if tokenizer.spaced and not tokenizer.word_start[index]:
        piece = piece.removeprefix("##")
    return piece.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍").replace("▁", " ")
