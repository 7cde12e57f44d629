"""What several sources say is in one numbering, and each label is known by where it stands first."""

from collections.abc import Callable
from dataclasses import replace
from time import process_time

import numpy as np

from lmkit.data.cache import Cache
from lmkit.data.documents import all_documents
from lmkit.data.examples import examples


def test_labels_of_several_sources_are_one_list_with_the_line_where_each_stands_first(cache: Callable[..., Cache]) -> None:
    one = cache([3] * 4, more={"labels": np.array([1, 0, 1, 0])}, names={"labels": ("bad", "good")})
    two = cache([3] * 3, more={"labels": np.array([1, 1, 0])}, names={"labels": ("good", "worse")})
    found, _ = examples([all_documents("one", one), all_documents("two", replace(two, files=("other.txt",)))], ["label"], "tasks.t")
    assert found.names["labels"] == {"bad": "corpus.txt:2", "good": "corpus.txt:1", "worse": "other.txt:1"}
    assert found.values["labels"].tolist() == [1, 0, 1, 0, 2, 2, 1] and found.counts["labels"].tolist() == [2, 3, 2]


def test_a_label_for_nearly_every_record_takes_no_square_of_them(cache: Callable[..., Cache]) -> None:
    many = 40_000
    names = {"labels": tuple(map(str, range(many)))}
    source = all_documents("many", cache([1] * many, more={"labels": np.arange(many)}, names=names))
    begun = process_time()
    examples([source], ["label"], "tasks.t")
    assert process_time() - begun < 2
