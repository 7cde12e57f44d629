"""Questions and their answers: SQuAD's files, answers in their places, and windows in which each stands whole."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmkit.data.answers import placed
from lmkit.data.batches import Batches
from lmkit.data.build import build_batches
from lmkit.data.cache import open_cache
from lmkit.data.document import Document
from lmkit.data.sources import read
from lmkit.data.spec import Csv, Data, JsonLines, Squad
from lmkit.data.squad import is_squad, read_squad
from lmkit.data.windows import Windows, window_rows
from lmkit.errors import DataError
from lmkit.tasks.spec import QuestionAnswering
from lmkit.text.build import train_tokenizer
from lmkit.text.spec import WordPiece
from lmkit.text.template import wrapped
from lmkit.text.tokenizer import Tokenizer

CONTEXT = "Zürich lies in Switzerland, and Zürich has a lake. 湖很大, said Ann."
WIDTH = 32  # tokens of a row
COLUMNS = {"text": "question", "text_pair": "context", "answers": "answers"}


def question(text: str, *answers: str, **more: Any) -> dict[str, Any]:
    return {"id": text[:5], "question": text, "answers": [{"text": a, "answer_start": CONTEXT.find(a)} for a in answers], **more}


QUESTIONS = [
    question("Where is it?", "Switzerland", "in Switzerland"),
    question("How big is it?", "很大"),
    question("Who swims?", is_impossible=True, plausible_answers=[{"text": "Ann", "answer_start": 56}]),
    question("What does the town have that is so very nice?", "a lake"),
]


def squad(folder: Path, questions: list[dict[str, Any]] = QUESTIONS, **words: Any) -> Squad:
    content = {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]}
    (folder / "a.json").write_text(json.dumps(content, indent=1))
    return Squad(squad=("a.json",), **words)


def test_a_squad_file_gives_each_question_with_its_paragraph(tmp_path: Path) -> None:
    found = list(read(squad(tmp_path), base=tmp_path))
    assert [document.text for document in found] == [question["question"] for question in QUESTIONS]
    assert all(document.pair == CONTEXT and placed(document, "fail") == document for document in found)
    assert found[0].answers == ((15, "Switzerland"), (12, "in Switzerland"))
    assert found[2].answers == () and found[2].where.endswith("a.json:36 (Who s)")
    assert is_squad(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"question": "Where?", "data": [1]}')
    assert not is_squad(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"context"', '"contxt"', ["a.json: article 1, paragraph 1: context", "is missing; there are 'contxt', 'qas'"]),
        ('"qas": [', '"qas": [7, ', ["a.json: article 1, paragraph 1, question 1: qas", "expected an object, got 7"]),
        ('"question": "How big is it?"', '"question": 7', ["a.json:26 (How b): question", "expected text, got the number 7"]),
        ('"answer_start": 15', '"answer_start": "15"', ["a.json:12 (Where): answers", "an answer is"]),
        ('"answers": [],', '"answers": [{"text": "a", "answer_start": 1}],', ["a.json:36 (Who s): answers", "is_impossible is true"]),
        ('"version"', '"data": [], "version"', ["a.json: is no JSON: key 'data' stands twice"]),
        ("{", "[", ["a.json:2:", "is no JSON"]),
    ],
)
def test_what_is_wrong_with_a_squad_file_is_said_with_its_place(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    source = squad(tmp_path)
    path = tmp_path / "a.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError) as error:
        list(read(source, base=tmp_path))
    assert "\n" not in str(error.value) and all(part in str(error.value) for part in said), str(error.value)


def test_a_question_that_is_none_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    source = squad(tmp_path, [QUESTIONS[0], {"id": "lost"}, QUESTIONS[1]])
    first, lost, last = read_squad(tmp_path / "a.json", errors="fail", longest=source.max_record_bytes, stop=lambda: False)
    assert isinstance(first, Document) and isinstance(last, Document) and (first.line, last.line) == (12, 29)
    assert isinstance(lost, DataError) and "a.json:12 (lost): question: is missing; there are 'id'" in str(lost)


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_the_place_of_a_question_is_the_line_on_which_it_is_asked(tmp_path: Path, indent: int | None) -> None:
    mark = '"question": "Who swims?"'  # as a text, and as a key of something else
    asked = [{**each, "id": 7} for each in (*QUESTIONS, question(mark), *QUESTIONS)]
    del asked[1]["id"]
    paragraphs = [{"context": f"{mark} {CONTEXT}", "question": "of the paragraph", "qas": [each]} for each in asked]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}, indent=indent))
    text = path.read_text().splitlines()
    found = [each for each in read_squad(path, errors="fail", longest=10**6, stop=lambda: False) if isinstance(each, Document)]
    assert [each.text for each in found] == [each["question"] for each in asked]
    assert all(f'"question": {json.dumps(each.text)}' in text[each.line - 1] for each in found)
    lines = [each.line for each in found]
    assert lines == sorted(lines) and (indent is None or len(set(lines)) == len(lines))
    assert found[1].where == f"{path}:{lines[1]} (article 1, paragraph 2, question 1)"


def test_tables_hold_answers_as_json_or_as_text(tmp_path: Path) -> None:
    cells = ['[{""text"": ""a lake"", ""answer_start"": 43}]', '{""text"": [""Ann""], ""answer_start"": [60]}', "a lake", ""]
    (tmp_path / "a.csv").write_text("question,context,answers\n" + "".join(f'q,"{CONTEXT}","{cell}"\n' for cell in cells))
    found = [document.answers for document in read(Csv(csv=("a.csv",), columns=COLUMNS), base=tmp_path)]
    assert found == [((43, "a lake"),), ((60, "Ann"),), ((-1, "a lake"),), ()]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"text": ["a", "b"], "answer_start": [1]}, "2 texts with 1 answer_start"),
        ("[{'text': 1}]", "begins as JSON and is none"),
        ([{"text": "a", "answer_start": True}], "an answer is"),
    ],
)
def test_answers_of_another_shape_are_named(tmp_path: Path, answers: Any, said: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "q", "context": "c", "answers": answers}))
    with pytest.raises(DataError, match=f"a.jsonl:1: answers: {said}".replace("[", r"\[")):
        list(read(JsonLines(jsonl=("a.jsonl",), columns=COLUMNS), base=tmp_path))


def test_a_wrong_place_is_refused_left_out_or_mended() -> None:
    said = "Zürich"
    for start, nearest in ((3, 0), (-1, 0), (20, 32), (40, 32)):
        document = Document("Where?", pair=CONTEXT, answers=((start, said),), file="a", line=7)
        found = placed(document, "find")
        assert found is not None and found.answers == ((nearest, said),)
        assert placed(document, "skip") is None
        with pytest.raises(DataError, match=r'a:7: answers: the answer "Zürich" (has no answer_start|does not stand).*wrong_answers: find'):
            placed(document, "fail")
    with pytest.raises(DataError, match="stands nowhere in the text"):
        placed(Document("Where?", pair=CONTEXT, answers=((0, "Bern"),)), "find")
    with pytest.raises(DataError, match="answers: is missing"):
        placed(Document("Where?", pair=CONTEXT), "skip")


def test_left_out_records_are_counted(tmp_path: Path) -> None:
    wrong = question("Which town?", "Zürich") | {"answers": [{"text": "Zürich", "answer_start": 5}]}
    tokenizer = train_tokenizer(WordPiece(vocab_size=100), [CONTEXT])
    source = squad(tmp_path, [*QUESTIONS, wrong], wrong_answers="skip")
    cache = open_cache(source, tokenizer, directory=tmp_path / "cache", base=tmp_path)
    assert len(cache) == 4 and cache.skipped == {"with an answer that does not stand where it says": 1}
    with pytest.raises(DataError, match=r"a.json:58 \(Which\): answers: the answer"):
        open_cache(squad(tmp_path, [*QUESTIONS, wrong]), tokenizer, directory=tmp_path / "cache", base=tmp_path)


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 300)), min_size=1, max_size=6), st.integers(8, 60), st.integers(1, 40))
def test_windows_cover_every_text_and_share_what_they_should(sizes: list[tuple[int, int]], width: int, stride: int) -> None:
    questions, texts = np.array(sizes).T
    rows = window_rows(questions, texts, width, wrapped(1, 2), Windows(20, stride))
    for record, (asked, size) in enumerate(sizes):
        mine = np.flatnonzero(rows.mark == record)
        starts, lengths = rows.start[2 * mine + 1], rows.length[2 * mine + 1]
        kept = rows.length[2 * mine]
        assert (kept == min(asked, 20, (width - 3) // 2)).all() and (kept + lengths <= width - 3).all()
        assert starts[0] == 0 and starts[-1] + lengths[-1] == size
        shared = starts[:-1] + lengths[:-1] - starts[1:]
        assert (shared == min(stride, (width - 3 - kept[0]) // 2)).all()


def batches(folder: Path, tokenizer: Tokenizer, source: Squad, **words: Any) -> Batches:
    cache = open_cache(source, tokenizer, directory=folder / "cache", base=folder)
    data = Data.model_validate({"train": {"squad": "a.json"}, "max_length": WIDTH})
    return build_batches(data, {"qa": QuestionAnswering(**words)}, tokenizer, {"train": cache}, seed=1, batch_size=4)


def test_labels_are_the_cells_of_the_first_answer_or_the_first_cell(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(WordPiece(vocab_size=200, lowercase=False), [CONTEXT * 3, *(q["question"] * 3 for q in QUESTIONS)])
    found = batches(tmp_path, tokenizer, squad(tmp_path), stride=6, max_question_length=5)
    answers: dict[str, set[str]] = {}
    for step in range(found.steps_per_epoch):
        batch = found.train(step)
        for tokens, labels, weight in zip(batch["tokens"], batch["qa/labels"], batch["qa/weights"], strict=True):
            if weight:
                first, last = labels.tolist()
                asked = tokenizer.decode(tokens[1:4])
                answers.setdefault(asked, set()).add(tokenizer.decode(tokens[first : last + 1]) if last else "")
                assert tokens[0] == tokenizer.bos
    whole = {asked: sorted(said)[-1] for asked, said in answers.items()}
    assert sorted(whole.values()) == ["", "Switzerland", "a lake", "很大"]
    assert all(len(said) <= 2 for said in answers.values())


def test_windows_and_labels_are_those_of_transformers(tmp_path: Path) -> None:
    """The features of run_qa.py, made by its own steps."""
    transformers = pytest.importorskip("transformers")
    tokenizer = train_tokenizer(WordPiece(vocab_size=200), [CONTEXT * 3, *(q["question"] * 3 for q in QUESTIONS)])
    tokenizer.save(tmp_path / "tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    expected = []
    for asked in QUESTIONS:
        encoded = theirs(
            asked["question"],
            CONTEXT,
            truncation="only_second",
            max_length=WIDTH,
            stride=3,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for i, ids in enumerate(encoded["input_ids"]):
            expected.append((tuple(ids), *run_qa_label(asked, encoded["offset_mapping"][i], encoded.sequence_ids(i))))
    made = batches(tmp_path, tokenizer, squad(tmp_path), stride=3)
    found = [
        (tuple(tokens[segments > 0].tolist()), *labels.tolist())
        for batch in map(made.train, range(made.steps_per_epoch))
        for tokens, segments, labels in zip(batch["tokens"], batch["segments"], batch["qa/labels"], strict=True)
        if segments.any()
    ]
    assert sorted(found) == sorted(expected)


def run_qa_label(asked: dict[str, Any], offsets: list[tuple[int, int]], parts: list[int | None]) -> tuple[int, int]:
    """Of examples/pytorch/question-answering/run_qa.py: the first token that begins at the answer or before, the last that ends behind."""
    if not asked["answers"]:
        return 0, 0
    start = asked["answers"][0]["answer_start"]
    end = start + len(asked["answers"][0]["text"])
    inside = [i for i, part in enumerate(parts) if part == 1]
    first, last = inside[0], inside[-1]
    if not (offsets[first][0] <= start and offsets[last][1] >= end):
        return 0, 0
    while first < len(offsets) and offsets[first][0] <= start:
        first += 1
    while offsets[last][1] >= end:
        last -= 1
    return first - 1, last + 1
