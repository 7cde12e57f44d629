"""Files with a word a line: sentences, words and tags as they stand, and each broken line named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lmkit.data.cache import open_cache
from lmkit.data.document import Document
from lmkit.data.sources import read
from lmkit.data.spec import Conll, Conllu, JsonLines, Tsv
from lmkit.errors import DataError
from lmkit.text.build import train_tokenizer
from lmkit.text.joining import join_words
from lmkit.text.spec import WordPiece

NAMES = "-DOCSTART- -X- O O\n\n# a remark\nEU NNP B-NP B-ORG\n# NN I-NP O\n\n\nPeter NNP B-NP B-PER\nBlackburn NNP I-NP I-PER\n"
TREE = "\n".join(
    "\t".join([*fields, *["_"] * (9 - len(fields)), misc])
    for *fields, misc in [
        ("1-2", "Don't", "_"),
        ("1", "Do", "do", "AUX", "VB", "_"),
        ("2", "n't", "not", "PART", "RB", "_"),
        ("3-4", "du", "SpaceAfter=No"),
        ("3", "de", "de", "ADP", "_", "_"),
        ("4", "le", "le", "DET", "_", "_"),
        ("4.1", "ghost", "ghost", "NOUN", "_", "_"),
        ("5", "!", "!", "PUNCT", ".", "Gloss=x|SpaceAfter=No"),
    ]
)


def documents(folder: Path, content: str, source: type[Conll | Conllu] = Conll, **words: object) -> list[Document]:
    (folder / "a.txt").write_text(content, encoding="utf-8")
    key = "conll" if source is Conll else "conllu"
    return list(read(source.model_validate({key: ("a.txt",), **words}), base=folder))


def spelled(document: Document) -> list[str]:
    return [document.text[a:b] for a, b in document.words]


def test_sentences_end_at_blank_lines_and_tags_stand_in_their_column(tmp_path: Path) -> None:
    first, second = documents(tmp_path, NAMES)
    assert (spelled(first), first.tags, first.line) == (["EU", "#"], ("B-ORG", "O"), 4)
    assert (second.text, second.tags, second.where) == ("Peter Blackburn", ("B-PER", "I-PER"), f"{tmp_path}/a.txt:8")
    assert documents(tmp_path, NAMES, columns={"text": 0, "tags": 1})[1].tags == ("NNP", "NNP")
    assert documents(tmp_path, NAMES, columns={"text": 0})[1].tags is None


def test_where_tabs_end_the_columns_blanks_belong_to_the_word(tmp_path: Path) -> None:
    (found,) = documents(tmp_path, "# sent_id = 1\n1 000\tNUM\n#tag\tX\r\n")
    assert (spelled(found), found.tags) == (["1 000", "#tag"], ("NUM", "X"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a O\nb\n", "a.txt:2: 1 column where the first line has 2; a tag is missing"),
        ("a\tO\nb O\n", "a.txt:2: 1 column where the first line has 2; columns of this file end at tabs, here stand blanks"),
        ("a O\nb c O\n", "a.txt:2: 3 columns where the first line has 2; remove what is too much"),
        ("a\tO\nb\t\n", "a.txt:2: the tag is empty"),
        ("a\tO\n\tO\n", "a.txt:2: the word is empty"),
        ("a\nb\n", "a.txt:1: word and tag are the same column; lines have only one, the tags are missing"),
        ("# nothing\n\n", "a.txt: holds no sentences"),
        ("a O\n" * 9, "a.txt:1: this sentence is longer than max_record_bytes = 20"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        documents(tmp_path, content, max_record_bytes=20)
    assert said in str(error.value)


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.txt:1: there is no column 2; a line has 2, 0 to 1 \(-1 is the last\)"):
        documents(tmp_path, "a O\n", columns={"text": 0, "tags": 2})


def test_conllu_gives_words_as_they_were_written(tmp_path: Path) -> None:
    (found,) = documents(tmp_path, f"# text = Don't du!\n{TREE}\n", Conllu)
    assert found.text == "Don't de le!"  # where words do not spell their token, each stands by itself
    assert spelled(found) == ["Do", "n't", "de", "le", "!"]
    assert found.tags == ("AUX", "PART", "ADP", "DET", "PUNCT")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\t_\t_\t_\t_\t_", " _", "a.txt:1: 5 columns, CoNLL-U has 10"),
        ("2\tn't", "3\tn't", 'a.txt:3: ID: expected 2, got "3"'),
        ("3-4", "2-4", "a.txt:4: ID: the range 2-4 does not begin at the next word, 3"),
        ("3-4", "3-9", "a.txt:1: ID: the range 3-9 ends behind the last word, 5"),
        ("ADP", "_", 'a.txt:5: "de" has no UPOS, only _'),
    ],
)
def test_broken_conllu_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        documents(tmp_path, TREE.replace(old, new, 1), Conllu)
    assert said in str(error.value)


def test_only_columns_that_the_format_has_can_be_named() -> None:
    with pytest.raises(ValidationError, match="FORM"):
        Conllu(conllu=("a",), columns={"text": "FORM", "tags": "POS"})  # type: ignore[dict-item]
    (problem,) = Conll(conll=("a",), columns={"tags": 1}).problems()
    assert problem == ("columns", "no column is named for text; write for example columns: {text: 0, tags: -1}")
    (problem,) = Conll(conll=("a",), columns={"text": 0, "label": 1}).problems()
    assert problem == ("columns.label", "unknown role label; words have text and tags")


def test_the_first_token_of_each_word_has_its_tag(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("unbelievable ADJ\n. PUNCT\n\nunable ADJ\n")
    tokenizer = train_tokenizer(WordPiece(vocab_size=30), ["unbelievable . unable"])
    cache = open_cache(Conll(conll=("a.conll",)), tokenizer, directory=tmp_path / "cache", base=tmp_path)
    tags = [cache.names["tags"][tag] if tag >= 0 else "" for tag in cache.more["tags"]]
    assert [tag for tag in tags if tag] == ["ADJ", "PUNCT", "ADJ"] and len(tags) > 3
    assert tags[0] == "ADJ" and tags[cache.documents[1]] == "ADJ"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "a B-PER\nb I-PER\n\nc I-PER\nd O\n",
            '4: tags: 1 tag goes on with an entity that does not stand before them, the first is I-PER of "c"',
        ),
        (
            "a B-PER\nb I-LOC\n\nc O\nd I-PER\n",
            '2: tags: 2 tags go on with an entity that does not stand before them, the first is I-LOC of "b"',
        ),
        ("a S-PER\nb E-PER\n", '2: tags: 1 tag goes on with an entity that does not stand before them, the first is E-PER of "b"'),
        ("a B-PER\nb I-PER\nc B-PER\n", ""),
        ("a I-PER\nb B-PER\n\nc O\nd I-LOC\n", ""),  # IOB1: B only where an entity of its type ends
        ("a B-PER\nb I-LOC\nc NOUN\n", ""),
    ],
)
def test_tags_that_go_on_with_nothing_are_counted_and_the_first_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.conll").write_text(content)
    found: list[str] = []
    tokenizer = train_tokenizer(WordPiece(vocab_size=30), ["a b c d"])
    for _ in range(2):  # the second time from the cache
        open_cache(Conll(conll=("a.conll",)), tokenizer, directory=tmp_path / "cache", base=tmp_path, warn=found.append)
    assert len(found) == 2 * bool(said)
    assert all(line.startswith(f"warning: {tmp_path}/a.conll:{said}; each counts as the beginning of one") for line in found)


def test_a_list_of_words_is_a_text_that_knows_its_words(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"tokens": ["New", "York"], "ner": ["B", "I"]}\n')
    for columns in ({"words": "tokens", "tags": "ner"}, {"text": "tokens", "tags": "ner"}, {"words": "tokens"}):
        (found,) = read(JsonLines(jsonl=("a.jsonl",), columns=columns), base=tmp_path)
        assert (found.text, spelled(found), found.tags) == ("New York", ["New", "York"], ("B", "I") if "tags" in columns else None)
    (problem,) = JsonLines(jsonl=("a",), columns={"text": "a", "words": "b"}).problems()
    assert problem[0] == "columns.words"


def test_a_table_holds_lists_as_json_or_as_words(tmp_path: Path) -> None:
    columns = {"words": "tokens", "tags": "ner", "labels": "topics"}
    lists = '["New", "York"]\t["B-LOC", "O"]\t["sport", "politics"]\n' + "Oslo\tB-LOC\t[]\nnever mind\tO O\tsport, politics\n"
    (tmp_path / "a.tsv").write_text("tokens\tner\ttopics\n" + lists + "[3]\t[3]\t[3, 4]\n")
    found = list(read(Tsv(tsv=("a.tsv",), columns=columns), base=tmp_path))
    assert [document.labels for document in found] == [("sport", "politics"), (), ("sport", "politics"), ("3", "4")]
    assert [document.tags for document in found] == [("B-LOC", "O"), ("B-LOC",), ("O", "O"), ("3",)]
    assert [document.text for document in found] == ["New York", "Oslo", "never mind", "3"]


@pytest.mark.parametrize("role", ["labels", "words", "tags"])
@pytest.mark.parametrize("value", ["['a', 'b']", "[a, b]", "[3 0 7]"])
def test_what_only_looks_like_a_list_is_refused_with_what_to_write(tmp_path: Path, role: str, value: str) -> None:
    (tmp_path / "a.tsv").write_text(f"text\tother\na b\t{value}\n")
    source = Tsv(tsv=("a.tsv",), columns={"words" if role == "tags" else "text": "text", role: "other"})
    with pytest.raises(DataError, match=r'a.tsv:2: other: begins as JSON and is none: .*; write \["one", "other"\]'):
        list(read(source, base=tmp_path))


@given(st.lists(st.tuples(st.text("ab中", min_size=1), st.booleans()), max_size=8))
def test_joined_words_stand_where_it_says(words: list[tuple[str, bool]]) -> None:
    texts, glued = [word for word, _ in words], [glue for _, glue in words]
    text, spans = join_words(texts, glued)
    assert [text[a:b] for a, b in spans] == texts
    assert all(before[1] == after[0] for before, after, glue in zip(spans, spans[1:], glued, strict=False) if glue)
