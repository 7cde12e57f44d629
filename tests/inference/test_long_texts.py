"""A long text is answered as it is learned: cut at one end or in the middle, or in windows whose scores are pooled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmkit.data.document import Document
from lmkit.inference.long_texts import document_scores
from lmkit.inference.opened import OpenedModel
from lmkit.run.console import Console
from lmkit.run.open import open_trained
from lmkit.tasks.spec import AnyTask, Windowed

FOLDER = Path(__file__).parents[1] / "checkpoints" / "hub" / "folders" / "roberta_seqcls"
ROOM = 12


@pytest.fixture(scope="module")
def opened() -> OpenedModel:
    found = open_trained(FOLDER, Console(out=lambda line: None, err=lambda line: None, write=lambda text: None))
    return replace(found.answering, data=found.spec.data.model_copy(update={"max_length": ROOM}))


def scores(opened: OpenedModel, task: AnyTask, *documents: Document) -> np.ndarray:
    return np.stack(document_scores(opened, "classification", task)(documents))


def texts(opened: OpenedModel, *, whole: int) -> list[str]:
    """Texts of so many tokens or more, by growing a text."""
    words = ["the", "fox", "jumps", "over", "a", "lazy", "dog", "and", "then", "it", "runs", "away", "from", "all", "of", "them", "again"]
    found = [" ".join(words[:count]) for count in range(1, len(words) + 1)]
    return [text for text in found if len(opened.tokenizer.encode([text], specials=False)[0]) > whole]


def test_windows_pool_the_scores_of_their_parts(opened: OpenedModel) -> None:
    plain = opened.tasks["classification"]
    extra = opened.tokenizer.template.single.extra
    for pool, pooled in (("mean", np.mean), ("max", np.max)):
        task = plain.model_copy(update={"windows": Windowed(stride=2, pool=pool)})
        for text in texts(opened, whole=ROOM - extra)[-3:]:
            spans = opened.tokenizer.spans([text])[0][1]
            size = ROOM - extra
            starts = [0]
            while starts[-1] + size < len(spans):
                starts.append(starts[-1] + size - 2)
            assert len(starts) > 1
            ids = opened.tokenizer.encode([text], specials=False)[0]
            rows = [opened.tokenizer.template.row(ids[start : start + size]) for start in starts]
            parts = [np.asarray(_logits(opened, row)) for row in rows]
            np.testing.assert_allclose(scores(opened, task, Document(text))[0], pooled(parts, axis=0), atol=1e-5)


def _logits(opened: OpenedModel, row: object) -> np.ndarray:
    head = opened.model.heads["classification"]
    batch = {"tokens": row.ids[None], "segments": np.ones((1, len(row.ids)), np.int32), "token_types": row.types[None]}  # type: ignore[attr-defined]
    return head.logits(opened.model.hidden(batch, causal=None), batch["segments"], None, batch["tokens"])[0]


@pytest.mark.parametrize("pair", [None, "a short one"])
def test_a_short_text_has_one_window_and_loses_nothing(opened: OpenedModel, pair: str | None) -> None:
    plain = opened.tasks["classification"]
    document = Document("fox", "dog" if pair else None)
    expected = scores(opened, plain, document)
    for words in ({"windows": Windowed(stride=1)}, {"truncate": "start"}, {"truncate": "head_tail"}):
        np.testing.assert_allclose(scores(opened, plain.model_copy(update=words), document), expected, atol=1e-5)


def test_each_way_to_cut_sees_its_part_alone(opened: OpenedModel) -> None:
    plain = opened.tasks["classification"]
    text = texts(opened, whole=ROOM)[-1]
    ids = opened.tokenizer.encode([text], specials=False)[0]
    room = ROOM - opened.tokenizer.template.single.extra
    kept = {"end": ids[:room], "start": ids[-room:], "head_tail": np.concatenate([ids[: room // 2], ids[-(room - room // 2) :]])}
    for truncate, tokens in kept.items():
        found = scores(opened, plain.model_copy(update={"truncate": truncate}), Document(text))[0]
        np.testing.assert_allclose(found, _logits(opened, opened.tokenizer.template.row(tokens)), atol=1e-5)


def test_answers_do_not_depend_on_what_else_is_asked(opened: OpenedModel) -> None:
    task = opened.tasks["classification"].model_copy(update={"windows": Windowed(stride=3)})
    documents = [Document(text) for text in texts(opened, whole=1)]
    together = scores(opened, task, *documents)
    np.testing.assert_allclose(np.stack([scores(opened, task, document)[0] for document in documents[::-1]])[::-1], together, atol=1e-5)
