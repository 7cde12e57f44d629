"""Records with several texts of which one is right: how they are read, and the rows they become."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from lmkit.data.build import build_batches
from lmkit.data.cache import open_cache
from lmkit.data.sources import read
from lmkit.data.spec import Csv, Data, JsonLines
from lmkit.errors import DataError
from lmkit.tasks.spec import MultipleChoice
from lmkit.text.tokenizer import Tokenizer

COLUMNS = {"text": "q", "choices": "options", "label": "answer"}


@pytest.fixture
def tokenizer() -> Tokenizer:
    """Words from w5 to w1999, whose ids are their numbers."""
    vocab = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(5, 2000))])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    backend.add_special_tokens(list(vocab)[:5])
    return Tokenizer(backend)


def source(path: Path, *records: dict[str, Any]) -> JsonLines:
    (path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return JsonLines(jsonl=(str(path / "a.jsonl"),), columns=COLUMNS)


@pytest.mark.parametrize("answer", [1, "1", "B", "b", "w8 w9"])
def test_the_right_one_is_told_by_its_place_a_letter_or_itself(tmp_path: Path, answer: Any) -> None:
    (document,) = read(source(tmp_path, {"q": "w5", "options": ["w7", "w8 w9", "w6"], "answer": answer}))
    assert (document.choices, document.label) == (("w7", "w8 w9", "w6"), "1")


@pytest.mark.parametrize(("labels", "answer"), [(["1", "2", "3"], "2"), ([1, 2, 3], 2), (["C", "A", "B"], "A"), (["x", "y", "z"], "w8")])
@pytest.mark.parametrize("written", [dict, json.dumps])
def test_choices_with_labels_are_told_by_these(tmp_path: Path, labels: list[Any], answer: Any, written: Any) -> None:
    options = written({"text": ["w7", "w8", "w6"], "label": labels})
    (document,) = read(source(tmp_path, {"q": "w5", "options": options, "answer": answer}))
    assert (document.choices, document.label) == (("w7", "w8", "w6"), "1")


@pytest.mark.parametrize(
    ("options", "answer", "what"),
    [
        (["w7"], 0, "options: two choices or more are needed, got 1"),
        (["w7", " "], 0, "options: a choice is empty"),
        ("w7", 0, "options: expected a list such as"),
        (3, 0, "options: expected a list of choices, got the number 3"),
        (["w7", 8], 0, "options: expected text, got the number 8"),
        (["w7", "w8"], 2, 'answer: "2" is none of the 2 choices; write 0 to 1, A to B, or its text'),
        (["w7", "w8"], "w9", 'answer: "w9" is none of the 2 choices'),
        ({"text": ["w7", "w8"], "label": ["1", "2"]}, "0", 'answer: "0" is none of the choices; write 1, 2, or its text'),
        ({"text": ["w7", "w8"], "label": ["1"]}, "1", "options.label: 2 choices are called by 1 labels"),
        ("['w7', 'w8']", 0, r'options: begins as JSON and is none: .*; write \["one", "other"\]'),
        (["w7", "w8"], -1, "answer: -1 mostly means no label"),
        (["w7", "w8"], None, "answer: field is null"),
    ],
)
def test_what_is_no_choice_is_refused_where_it_stands(tmp_path: Path, options: Any, answer: Any, what: str) -> None:
    good = {"q": "w5", "options": ["w7", "w8"], "answer": 0}
    with pytest.raises(DataError, match=f"a.jsonl:2: {what}"):
        list(read(source(tmp_path, good, {"q": "w5", "options": options, "answer": answer})))


def test_a_table_has_a_column_for_each_choice_or_a_list_in_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('q,one,other,both,answer\nw5,w6,"w7, w8","[""w6"", ""w7, w8""]",B\n')
    for choices in (["one", "other"], "both"):
        columns = {"text": "q", "choices": choices, "label": "answer"}
        (document,) = read(Csv.model_validate({"csv": (str(tmp_path / "a.csv"),), "columns": columns}))
        assert (document.choices, document.label) == (("w6", "w7, w8"), "1")
    with pytest.raises(DataError, match="no column 'third'"):
        list(read(Csv.model_validate({"csv": (str(tmp_path / "a.csv"),), "columns": {"text": "q", "choices": ["one", "third"]}})))


def test_each_pair_is_a_segment_as_the_tokenizer_frames_it(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    records = []
    for i in range(40):
        counts = rng.integers(1, 12, rng.integers(2, 5))
        options = [" ".join(f"w{j}" for j in rng.integers(50, 900, count)) for count in counts]
        records.append(
            {"q": " ".join([f"w{1000 + i}", *["w9"] * rng.integers(0, 20)]), "options": options, "answer": int(rng.integers(len(options)))}
        )
    cache = open_cache(source(tmp_path, *records), tokenizer, directory=tmp_path / "caches")
    data = Data.model_validate({"train": {"jsonl": "a.jsonl"}, "validation": {"holdout": 0.3}, "max_length": 48})
    batches = build_batches(data, {"c": MultipleChoice()}, tokenizer, {"train": cache}, seed=1, batch_size=4)
    seen = 0
    for batch in [*map(batches.train, range(batches.steps_per_epoch)), *batches.validation]:
        for row in np.flatnonzero(batch["c/weights"]):
            record = records[batch["tokens"][row, 1] - 1000]
            share = 48 // len(record["options"])
            seen += 1
            assert batch["c/labels"][row] == record["answer"]
            assert batch["c/choices"][row].sum() == batch["segments"][row].max() == len(record["options"])
            for number, framed in enumerate(tokenizer.rows([record["q"]] * len(record["options"]), record["options"], max_length=share), 1):
                here = batch["segments"][row] == number
                assert np.array_equal(batch["tokens"][row, here], framed.ids)
                assert np.array_equal(batch["token_types"][row, here], framed.types)
                assert np.array_equal(batch["positions"][row, here], np.arange(len(framed.ids)))
    assert seen == 40


def test_too_many_choices_for_a_row_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    records = [{"q": "w5", "options": ["w6"] * count, "answer": 0} for count in (2, 5, 2)]
    cache = open_cache(source(tmp_path, *records), tokenizer, directory=tmp_path / "caches")
    data = Data.model_validate({"train": {"jsonl": "a.jsonl"}, "max_length": 20})
    with pytest.raises(DataError, match=r"a.jsonl:2: data.max_length: 20 is too short for 5 choices; write 25 or more"):
        build_batches(data, {"c": MultipleChoice()}, tokenizer, {"train": cache}, seed=1, batch_size=2)
