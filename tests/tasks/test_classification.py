"""Labels and their ids."""

import numpy as np
import pytest

from lmkit.errors import DataError
from lmkit.tasks.classification import label_names, label_order, label_table


def test_labels_sort_as_numbers_where_they_are_numbers() -> None:
    assert sorted(["10", "9", "-1", "good", "--1", "Bad"], key=label_order) == ["-1", "9", "10", "--1", "Bad", "good"]


def test_auto_takes_the_labels_of_the_training_data_and_a_list_keeps_its_order() -> None:
    assert label_names("auto", ["2", "10", "2", "1"], "tasks.c.labels") == ("1", "2", "10")
    assert label_names(("yes", "no"), ["no", "yes"], "tasks.c.labels") == ("yes", "no")
    with pytest.raises(DataError, match=r"tasks.c.labels: the training data has only the label 1; classification needs two"):
        label_names("auto", ["1"], "tasks.c.labels")


def test_a_table_gives_each_found_label_the_id_of_its_name() -> None:
    assert np.array_equal(label_table(("a", "b", "c"), {"c": "x:1", "a": "x:2"}, key="k"), [2, 0, -1])


def test_every_unknown_label_is_named_with_its_place() -> None:
    with pytest.raises(DataError) as caught:
        label_table(("a", "b"), {"c": "x:1", "a": "x:2", "d": "y:9"}, key="tasks.c.labels")
    assert [(p.where, p.key) for p in caught.value.problems] == [("x:1", "tasks.c.labels"), ("y:9", "tasks.c.labels")]
