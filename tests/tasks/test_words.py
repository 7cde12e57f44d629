"""The words of tasks: what they mean when little is said, and what contradicts itself."""

import typing

import numpy as np
import pytest

from lmkit.tasks.metrics import Sums, metrics
from lmkit.tasks.spec import (
    AnyTask,
    Classification,
    Pooled,
    QuestionAnswering,
    Regression,
    ReplacedToken,
    SentenceEmbedding,
    Seq2seq,
    Task,
    TokenClassification,
)


def test_the_first_token_has_a_pooler_and_no_other_unless_it_is_asked_for() -> None:
    assert Classification().pooler_activation == "tanh"
    assert Classification(pooling="last").pooler_activation is None
    assert Classification(pooler="none").pooler_activation is None
    assert Regression(pooling="mean", pooler="relu").pooler_activation == "relu"


@pytest.mark.parametrize(
    ("task", "key"),
    [
        (Classification(pooling="eos"), "pooling"),
        (Regression(pooling="mean", pooler_norm=True), "pooler_norm"),
        (TokenClassification(transform_norm=True), "transform_norm"),
        (TokenClassification(labels=("one",)), "labels"),
        (TokenClassification(labels=("a", "b", "a")), "labels"),
    ],
)
def test_what_contradicts_itself_is_told_at_its_key(task: Task, key: str) -> None:
    assert [found for found, _ in task.problems()] == [key]


@pytest.mark.parametrize(
    "task", [Seq2seq(), QuestionAnswering(), ReplacedToken(), SentenceEmbedding(), Regression(), TokenClassification()]
)
def test_every_kind_has_figures(task: AnyTask) -> None:
    sums = Sums(3)
    rows = {"loss": np.array([2.0]), "weight": np.array([2.0]), "correct": np.array([1.0])}
    sums.add(np.array([[1, 2]]), np.array([[1.0, 1.0]]), rows)
    found = metrics(task, sums)
    assert found.get("loss", 1.0) == 1.0
    assert "accuracy" not in found or found["accuracy"] == 0.5
    assert ("perplexity" in found) is isinstance(task, Seq2seq)


def test_a_scalar_is_short_for_each_kind() -> None:
    from pydantic import TypeAdapter

    kinds = [cls.model_fields["kind"].default for cls in typing.get_args(typing.get_args(AnyTask)[0])]
    for kind in kinds:
        if kind != "custom":
            assert TypeAdapter(AnyTask).validate_python(kind).kind == kind
    assert {"seq2seq", "question_answering", "regression", "replaced_token", "sentence_embedding"} <= set(kinds)
    assert issubclass(Classification, Pooled)
