"""Labels and their ids."""

import numpy as np
import pytest

from lmkit.errors import DataError
from lmkit.tasks.classification import label_names, label_order, label_table, label_weights
from lmkit.tasks.spec import Classification


def test_labels_sort_as_numbers_where_they_are_numbers() -> None:
    assert sorted(["10", "9", "-1", "good", "--1", "Bad"], key=label_order) == ["-1", "9", "10", "--1", "Bad", "good"]


def test_auto_takes_the_labels_of_the_training_data_and_a_list_keeps_its_order() -> None:
    assert label_names("auto", ["2", "10", "2", "1"], "tasks.c.labels") == ("1", "2", "10")
    assert label_names(("yes", "no"), ["no", "yes"], "tasks.c.labels") == ("yes", "no")
    with pytest.raises(DataError, match=r"tasks.c.labels: the training data has only the label 1, and two or more are needed; see"):
        label_names("auto", ["1"], "tasks.c.labels")


def test_a_table_gives_each_found_label_the_id_of_its_name() -> None:
    assert np.array_equal(label_table(("a", "b", "c"), {"c": "x:1", "a": "x:2"}, key="k"), [2, 0, -1])


def test_every_unknown_label_is_named_with_its_place() -> None:
    with pytest.raises(DataError) as caught:
        label_table(("a", "b"), {"c": "x:1", "a": "x:2", "d": "y:9"}, key="tasks.c.labels")
    assert [(p.where, p.key) for p in caught.value.problems] == [("x:1", "tasks.c.labels"), ("y:9", "tasks.c.labels")]


def test_an_unknown_label_is_told_with_the_nearest_and_the_first_of_many() -> None:
    names = tuple(f"topic {number}" for number in range(150))
    with pytest.raises(DataError) as caught:
        label_table(names, {"Topic 7": "x:1"} | {f"{number}": f"x:{number}" for number in range(900)}, key="k", fix="add it")
    assert len(caught.value.problems) == 5
    assert str(caught.value.problems[0]).endswith("topic 11 and 138 more; did you mean topic 7? add it")
    assert str(caught.value.problems[1]).endswith("topic 11 and 138 more; add it")


def test_a_mapping_names_what_the_data_calls_otherwise_and_knows_the_names_too() -> None:
    called = {"0": "negative", "1": "positive", "2": "positive"}
    names = label_names(called, ["1", "0"], "k")
    assert names == Classification(labels=called).declared == ("negative", "positive")
    assert np.array_equal(label_table(names, dict.fromkeys(["2", "negative", "0", "1"], "x:1"), key="k", called=called), [1, 0, 0, 1, -1])
    with pytest.raises(DataError, match=r'x:7: k: label "3" is not one of 0, 1, 2, negative, positive'):
        label_table(names, {"3": "x:7"}, key="k", called=called)


def test_balanced_labels_weigh_the_same_in_all() -> None:
    table, counts = np.array([2, 0, 1, -1]), np.array([1, 30, 5])
    weights = label_weights("balanced", ("a", "b", "c"), table, counts, key="k")
    np.testing.assert_allclose(weights * [30, 5, 1], 36 / 3)
    assert np.array_equal(label_weights({"b": 2.5}, ("a", "b"), table, counts, key="k"), np.array([1, 2.5], np.float32))
    with pytest.raises(DataError, match=r"k.d: is no label; the labels are a, b"):
        label_weights({"d": 2.0}, ("a", "b"), table, counts, key="k")


def test_balanced_sets_give_texts_with_a_label_the_weight_of_those_without() -> None:
    counts = np.array([5, 20, 0, 40])
    weights = label_weights("balanced", ("a", "b", "c", "d"), np.array([0, 1, 2, 3, -1]), counts, key="k", records=40)
    np.testing.assert_allclose(weights[:2] * counts[:2], 40 - counts[:2])
    np.testing.assert_allclose(weights[2:], [40, 1 / 40])


def test_words_that_do_not_go_together_are_told() -> None:
    def told(**words: object) -> list[str]:
        return [key for key, _ in Classification.model_validate(words).problems()]

    assert told(multi_label=True, class_weights="balanced", label_smoothing=0.1) == ["label_smoothing"]
    assert told(threshold=0.3) == ["threshold"]
    assert told(labels=["a", "b"], class_weights={"c": 1.0}) == ["class_weights.c"]
    assert told(labels={"0": "a", "1": "a"}) == ["labels"]
    assert told(labels=["a", "b"], class_weights={"b": 3.0}) == told(multi_label=True, threshold=0.3) == []
