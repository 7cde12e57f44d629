"""Which tasks share one forward pass: those that read the same sources in the same layout."""

from collections.abc import Mapping
from dataclasses import dataclass

from lmkit.data.layout import Layout
from lmkit.tasks.spec import AnyTask, CausalLm, Classification, MaskedLm, NextSentence, Regression, TokenClassification


@dataclass(frozen=True)
class Group:
    """Tasks that read the same rows; `source` is the named source they are bound to, None for all."""

    tasks: tuple[str, ...]
    layout: Layout
    source: str | None


def group_tasks(tasks: Mapping[str, AnyTask]) -> list[Group]:
    """Groups in the order of their first task; where there are several they take turns, and weights act in the loss alone.

    masked_lm joins next_sentence of the same sources (BERT), never classification, whose texts stay whole; a second masked_lm
    hides other tokens and so reads rows of its own.
    """
    members: dict[tuple[Layout, str | None, int], list[str]] = {}
    masked: dict[tuple[Layout, str | None], int] = {}
    paired = {task.data for task in tasks.values() if isinstance(task, NextSentence)}
    for name, task in tasks.items():
        layout = layout_of(task)
        number = 0
        if isinstance(task, MaskedLm):
            layout = "pairs" if task.data in paired else layout
            number = masked[layout, task.data] = masked.get((layout, task.data), -1) + 1
        members.setdefault((layout, task.data, number), []).append(name)
    return [Group(tuple(names), layout, source) for (layout, source, _), names in members.items()]


def layout_of(task: AnyTask) -> Layout:
    """How a task wants its rows. Raises ValueError for a task that no data can train."""
    match task:
        case CausalLm():
            return "causal"
        case MaskedLm():
            return "masked"
        case NextSentence():
            return "pairs"
        case Classification() | Regression():
            return "records"
        case TokenClassification():
            return "tokens"
        case _:
            raise ValueError(f"no data format makes rows for {task.kind}")
