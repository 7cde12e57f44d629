"""Which tasks share one forward pass: those that read the same sources in the same layout."""

from collections.abc import Mapping
from dataclasses import dataclass

from lmkit.data.layout import Layout
from lmkit.data.windows import Windows
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
    SentenceOrder,
    Seq2seq,
    SpanCorruption,
    TokenClassification,
    WholeText,
)
from lmkit.text.template import Truncate


@dataclass(frozen=True)
class Group:
    """Tasks that read the same rows; `source` is the named source they are bound to, None for all; `windows` cuts long texts,
    else they lose what `truncate` says. `separator` stands between a text and its answer in one row.
    """

    tasks: tuple[str, ...]
    layout: Layout
    source: str | None
    windows: Windows | None = None
    truncate: Truncate = "end"
    separator: str = ""


def group_tasks(tasks: Mapping[str, AnyTask], *, sided: bool = False) -> list[Group]:
    """Groups in the order of their first task; where there are several they take turns, and weights act in the loss alone. A body
    is `sided` if an encoder stands beside its decoder.

    masked_lm joins next_sentence or sentence_order of the same sources (BERT, ALBERT), never classification, whose texts stay whole; a
    second masked_lm hides other tokens and so reads rows of its own, as do replaced_token, span_corruption and prefix_lm. So do tasks
    that read long texts otherwise.
    """
    members: dict[tuple[Layout, str | None, int, Windows | None, Truncate, str], list[str]] = {}
    masked: dict[tuple[Layout, str | None], int] = {}
    paired = {task.data: layout_of(task) for task in reversed(list(tasks.values())) if isinstance(task, NextSentence | SentenceOrder)}
    for name, task in tasks.items():
        layout = layout_of(task)
        separator, number = "", 0
        if isinstance(task, Seq2seq) and not sided:
            layout, separator = "prompts", task.separator
        if isinstance(task, MaskedLm | ReplacedToken | SpanCorruption | PrefixLm):
            layout = paired.get(task.data, layout) if isinstance(task, MaskedLm) else layout
            number = masked[layout, task.data] = masked.get((layout, task.data), -1) + 1
        truncate = task.truncate if isinstance(task, WholeText) else "end"
        members.setdefault((layout, task.data, number, windows_of(task), truncate, separator), []).append(name)
    return [
        Group(tuple(names), layout, source, windows, truncate, separator)
        for (layout, source, _, windows, truncate, separator), names in members.items()
    ]


def windows_of(task: AnyTask) -> Windows | None:
    """How a task reads texts that are longer than a row in several; None where it does not."""
    if isinstance(task, QuestionAnswering):
        return Windows(task.max_question_length, task.stride)
    return Windows(None, task.windows.stride) if isinstance(task, WholeText) and task.windows else None


def layout_of(task: AnyTask) -> Layout:
    """How a task wants its rows, beside an encoder where it writes to texts. Raises ValueError for a task that no data can train."""
    match task:
        case CausalLm():
            return "causal"
        case DirectPreference() | Reward():
            return "preferences"
        case MaskedLm() | ReplacedToken():
            return "masked"
        case NextSentence():
            return "pairs"
        case SentenceOrder():
            return "ordered"
        case Classification() | Regression():
            return "records"
        case MultipleChoice():
            return "choices"
        case SentenceEmbedding(loss="simcse"):
            return "twice"
        case SentenceEmbedding():
            return "twins"
        case TokenClassification():
            return "tokens"
        case SpanCorruption() | PrefixLm():
            return "raw"
        case Seq2seq():
            return "sides"
        case QuestionAnswering():
            return "windows"
        case _:
            raise ValueError(f"no data format makes rows for {task.kind}")
