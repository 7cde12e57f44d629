"""Tags of words against true ones, and the entities that they spell (the definitions of conlleval and seqeval)."""

import re
from collections.abc import Sequence

import numpy as np

from lmkit.scores.classes import label_scores, places, tally
from lmkit.scores.figure import Figure, figures
from lmkit.scores.names import TAGS, refuse_unknown

ENTITY_TAG = re.compile(r"O|[BIESLUMW](-.*)?", re.DOTALL)
SAME_AS = str.maketrans("LUMW", "ESIS")  # BILOU and BMES (BMEWO) spell IOBES with other letters


def tagging(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], names: Sequence[str], *, rounds: int = 0
) -> dict[str, Figure]:
    """Figures of TAGS: accuracy over words; f1, precision, recall of entities, micro-averaged; "f1_by_type" adds f1.TYPE for each
    type of entity; "f1_tags" is the mean over the tags that occur, true or predicted.

    Resamples are of sentences. Figures of entities are 0 where they would divide by 0, and nan where a true tag is no tag of an
    entity (parts of speech). ValueError where sentences differ in length.
    """
    refuse_unknown(names, TAGS)
    if [len(tags) for tags in gold] != [len(tags) for tags in predicted]:
        raise ValueError("sentences have other numbers of true tags than of predicted ones")
    true, guess = ([tag for tags in side for tag in tags] for side in (gold, predicted))
    tags = sorted({*true, *guess})
    tallied = tally(np.stack([places(true, tags), places(guess, tags)], axis=1), np.repeat(np.arange(len(gold)), list(map(len, gold))))
    types, entity_counts = _entity_counts(gold, predicted)
    of_words = [{"f1_tags": "f1"}.get(name, name) for name in names if name in ("accuracy", "f1_tags")]
    keys = [key for name in names for key in ([f"f1.{one}" for one in types] if name == "f1_by_type" else [name])]

    def score(rows: np.ndarray) -> dict[str, float]:
        outcomes, counts = tallied(rows)
        words = label_scores(of_words, outcomes[:, 0], outcomes[:, 1], counts)
        sums = entity_counts[rows].sum(axis=0)
        found = dict(zip(("precision", "recall", "f1"), _entity_scores(*sums.sum(axis=0)), strict=True))
        found |= {f"f1.{one}": _entity_scores(*sums[number])[2] for number, one in enumerate(types)}
        return found | {"accuracy": words.get("accuracy", 0.0), "f1_tags": words.get("f1", 0.0)}

    return figures(keys, score, len(gold), rounds=rounds)


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """(type, first word, word after the last) of each entity in IOB1, IOB2, IOBES, BILOU or BMES.

    As conlleval reads them: I and E go on with an entity of their type that B or I left open, and else begin one.
    """
    found, start, before, type_before = set(), 0, "O", ""
    for place, tag in enumerate([*tags, "O"]):
        letter, kind = tag[:1].translate(SAME_AS), tag[2:] or "_"
        goes_on = letter in "IE" and before in "BI" and kind == type_before
        if before != "O" and not goes_on:
            found.add((type_before, start, place))
        if not goes_on:
            start = place
        before, type_before = letter, kind
    return found


def beginnings(tags: Sequence[str]) -> tuple[list[int], list[int]]:
    """The words at which an entity begins where none of its type is open, by I or E, which should go on with one, and by B or S."""
    inside: list[int] = []
    outside: list[int] = []
    open_type = ""
    for place, tag in enumerate(tags):
        letter, kind = tag[:1].translate(SAME_AS), tag[2:] or "_"
        if letter != "O" and kind != open_type:
            (inside if letter in "IE" else outside).append(place)
        open_type = kind if letter in "BI" else ""
    return inside, outside


def _entity_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """The types, and for each sentence and type how many entities are (right, predicted, true), [sentences, types, 3]."""
    if not all(ENTITY_TAG.fullmatch(tag) for tags in gold for tag in tags):
        return [], np.full((len(gold), 1, 3), np.nan)
    pairs = [(entities(true), entities(guess)) for true, guess in zip(gold, predicted, strict=True)]
    types = sorted({kind for both in pairs for kind, _, _ in both[0] | both[1]})
    counts = np.zeros((len(gold), len(types), 3))
    for row, (true, guess) in enumerate(pairs):
        for column, group in enumerate((true & guess, guess, true)):
            for kind, _, _ in group:
                counts[row, types.index(kind), column] += 1
    return types, counts


def _entity_scores(right: float, predicted: float, true: float) -> tuple[float, float, float]:
    precision = float(right / predicted) if predicted else 0.0
    recall = float(right / true) if true else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0
