"""A file in place of a run's validation data is read as the run reads files of its ending."""

from pathlib import Path

import pytest

from lmkit.data.spec import Conll, Conllu, Csv
from lmkit.errors import DataError, SpecError
from lmkit.run.on_file import on_file
from lmkit.spec_file.load import load

SPEC = """
name: tagger
tokenizer: {kind: character}
model: {kind: encoder, num_layers: 1, hidden_size: 8, num_heads: 2}
data:
  train: {conll: train.tsv, columns: {text: 1, tags: 0}}
  validation: {conllu: dev.conllu, columns: {text: FORM, tags: UPOS}}
tasks: {tags: token_classification}
training: {steps: 1, batch_size: 1, optimizer: {kind: adamw, learning_rate: 0.01}}
"""


@pytest.mark.parametrize(("name", "kind"), [("test.tsv", Conll), ("test.conllu", Conllu)])
def test_a_file_is_read_like_that_of_the_run_which_has_its_ending(tmp_path: Path, name: str, kind: type) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    spec = load(tmp_path / "spec.yaml").spec
    path = tmp_path / name
    source = on_file(spec, path, {}, tmp_path).data.validation
    assert isinstance(source, kind) and source.paths == (str(path),)
    like = next(one for one in (spec.data.train["train"], spec.data.validation) if isinstance(one, kind))
    assert source.columns == like.columns


def test_of_an_imported_model_a_field_that_is_not_named_is_called_as_its_role(tmp_path: Path) -> None:
    words = SPEC.replace("token_classification", "{kind: classification, labels: [good, bad]}").splitlines()
    words[words.index("data:") : words.index("data:") + 3] = ["data: {train: {imported: folder}}"]
    (tmp_path / "spec.yaml").write_text("\n".join(words))
    spec = load(tmp_path / "spec.yaml").spec
    path = tmp_path / "test.csv"
    path.write_text("review,label\nfine,good\n")
    source = on_file(spec, path, {"text": "review"}, tmp_path).data.validation
    assert isinstance(source, Csv) and source.columns == {"text": "review", "label": "label"}
    path.write_text("review,stars\nfine,good\n")
    with pytest.raises(
        DataError, match=r"no field 'label' for the label; the fields are 'review', 'stars'; write --columns text=review,label=stars"
    ):
        on_file(spec, path, {"text": "review"}, tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("test.conll", "A\tO\n", "test.conll: holds text, tags, and the run is evaluated by label"),
        ("test.json", '{"data": [', "test.json: holds text, text_pair, answers, and the run is evaluated by label"),
    ],
)
def test_a_file_that_cannot_tell_what_the_run_is_scored_by_is_named_with_what_it_holds(
    tmp_path: Path, name: str, text: str, line: str
) -> None:
    words = SPEC.replace("token_classification", "classification").splitlines()
    words[words.index("data:") : words.index("data:") + 3] = ["data: {train: {csv: a.csv, columns: {text: body, label: stars}}}"]
    (tmp_path / "spec.yaml").write_text("\n".join(words))
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=line):
        on_file(load(tmp_path / "spec.yaml").spec, tmp_path / name, {}, tmp_path)


@pytest.mark.parametrize("imported", [False, True])
def test_columns_of_a_file_of_words_may_be_named_by_their_numbers_or_names(tmp_path: Path, imported: bool) -> None:
    words = SPEC.replace("token_classification", "{kind: token_classification, labels: [A, B]}").splitlines()
    if imported:
        words[words.index("data:") : words.index("data:") + 3] = ["data: {train: {imported: folder}}"]
    (tmp_path / "spec.yaml").write_text("\n".join(words))
    spec = load(tmp_path / "spec.yaml").spec

    def columns(name: str, **asked: str) -> object:
        source = on_file(spec, tmp_path / name, asked, tmp_path).data.validation
        assert isinstance(source, Conll | Conllu)
        return source.columns

    assert columns("a.conll", text="2", tags="-2") == {"text": 2, "tags": -2}
    assert columns("a.conllu", tags="XPOS") == {"text": "FORM", "tags": "XPOS"}
    for name, asked, form in [
        ("a.conll", {"tags": "UPOS"}, "numbers, such as text=0,tags=-1; got tags=UPOS"),
        ("a.conllu", {"tags": "4"}, "named, such as text=FORM,tags=UPOS; got tags=4"),
        ("a.conll", {"label": "1"}, "numbers, such as text=0,tags=-1; got label=1"),
    ]:
        with pytest.raises(SpecError, match=rf"{name}: --columns: this file has text and tags, in columns that are {form}"):
            columns(name, **asked)
