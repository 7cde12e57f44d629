"""Conversations from their records to rows: what is read, what is refused, and what of it is learned."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.data.batches import Batches
from lmkit.data.build import build_batches
from lmkit.data.cache import open_cache
from lmkit.data.sources import read
from lmkit.data.spec import Data, JsonLines
from lmkit.errors import DataError, SpecError
from lmkit.tasks.spec import CausalLm
from lmkit.text.build import train_tokenizer
from lmkit.text.chat_templates import BUILTIN, give_template
from lmkit.text.spec import Bpe
from lmkit.text.tokenizer import Tokenizer

ASK, SAY = {"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue <|im_end|> or green."}
THANK, BYE = {"role": "user", "content": "Thanks!"}, {"role": "assistant", "content": "You're welcome."}
BE = {"role": "system", "content": "Be brief."}


def messages(folder: Path, record: dict[str, Any], **columns: str) -> list[Any]:
    (folder / "a.jsonl").write_text(json.dumps(record) + "\n")
    (document,) = read(JsonLines(jsonl=("a.jsonl",), columns=columns), base=folder)
    return [list(each) for each in (document.messages, document.rejected) if each is not None]


def test_chats_are_read_in_the_ways_they_are_written(tmp_path: Path) -> None:
    shared = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": ASK["content"]},
        {"from": "gpt", "value": SAY["content"]},
    ]
    parts = [{"role": "user", "content": [{"type": "text", "text": "Name a "}, {"type": "text", "text": "colour."}], "name": None}, SAY]
    assert messages(tmp_path, {"talk": [ASK, SAY]}, messages="talk") == [[ASK, SAY]]
    assert messages(tmp_path, {"talk": json.dumps([ASK, SAY])}, messages="talk") == [[ASK, SAY]]
    assert messages(tmp_path, {"talk": shared}, messages="talk") == [[BE, ASK, SAY]]
    assert messages(tmp_path, {"talk": parts}, messages="talk") == [[ASK, SAY]]
    assert messages(tmp_path, {"talk": [ASK, SAY], "s": "Be brief."}, messages="talk", system="s") == [[BE, ASK, SAY]]


def test_an_instruction_is_a_user_whom_the_response_answers(tmp_path: Path) -> None:
    columns = {"prompt": "instruction", "input": "input", "response": "output", "system": "system"}
    record = {"instruction": "Add.", "output": "3"}
    answer = {"role": "assistant", "content": "3"}
    for empty in ({}, {"input": ""}, {"input": None, "system": None}):
        assert messages(tmp_path, record | empty, **columns) == [[{"role": "user", "content": "Add."}, answer]]
    full = messages(tmp_path, record | {"input": "1, 2", "system": "Be brief."}, **columns)
    assert full == [[BE, {"role": "user", "content": "Add.\n\n1, 2"}, answer]]


def test_a_prompt_may_begin_with_json_that_is_no_conversation(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "3"}
    for prompt in ('[{"a": 1}] parse this JSON', '[{"a": 1}]', "[{x}] is what?"):
        said = messages(tmp_path, {"p": prompt, "r": "3"}, prompt="p", response="r")
        assert said == [[{"role": "user", "content": prompt}, answer]]
    assert messages(tmp_path, {"p": json.dumps([BE, ASK]), "r": "3"}, prompt="p", response="r") == [[BE, ASK, answer]]


def test_a_developer_speaks_as_the_system_does(tmp_path: Path) -> None:
    assert messages(tmp_path, {"m": [{**BE, "role": "developer"}, ASK, SAY]}, messages="m") == [[BE, ASK, SAY]]


def test_a_preference_is_two_conversations(tmp_path: Path) -> None:
    columns = {"prompt": "p", "chosen": "c", "rejected": "r"}
    worse = {"role": "assistant", "content": "No."}
    expected = [[ASK, SAY], [ASK, worse]]
    assert messages(tmp_path, {"p": ASK["content"], "c": SAY["content"], "r": "No."}, **columns) == expected
    assert messages(tmp_path, {"p": [ASK], "c": SAY["content"], "r": "No."}, **columns) == expected
    assert messages(tmp_path, {"p": [ASK], "c": [SAY], "r": [worse]}, **columns) == expected
    assert messages(tmp_path, {"p": [ASK], "c": [ASK, SAY], "r": [ASK, worse]}, **columns) == expected
    assert messages(tmp_path, {"c": [ASK, SAY], "r": [ASK, worse]}, chosen="c", rejected="r") == expected


@pytest.mark.parametrize(
    ("record", "columns", "what"),
    [
        ({"m": []}, {"messages": "m"}, "a.jsonl:1: m: expected a list of messages"),
        ({"m": None}, {"messages": "m"}, "a.jsonl:1: m: field is null"),
        ({"n": []}, {"messages": "m"}, "a.jsonl:1: m: field is missing; the record has 'n'"),
        ({"m": "hello"}, {"messages": "m"}, 'got the text "hello"'),
        ({"m": [ASK, "hello"]}, {"messages": "m"}, r"a.jsonl:1: m\[1\]: a message is"),
        ({"m": [ASK, {"role": "robot", "content": ""}]}, {"messages": "m"}, r'm\[1\]: "robot" is no speaker; those known are user'),
        ({"m": [ASK, {"role": "assistant"}]}, {"messages": "m"}, r"m\[1\].content: expected text"),
        ({"m": [ASK, {"role": "user", "content": [{"type": "image"}]}]}, {"messages": "m"}, r"m\[1\].content: expected text, got a list"),
        ({"p": "a", "r": " "}, {"prompt": "p", "response": "r"}, "a.jsonl:1: r: is empty"),
        ({"p": "", "r": "b"}, {"prompt": "p", "response": "r"}, "a.jsonl:1: p: is empty"),
        ({"p": 1, "r": "b"}, {"prompt": "p", "response": "r"}, "a.jsonl:1: p: expected"),
        ({"p": "a", "c": [ASK], "r": "b"}, {"prompt": "p", "chosen": "c", "rejected": "r"}, "c: the last message must be the assistant's"),
    ],
)
def test_what_is_no_conversation_is_refused_with_its_place(tmp_path: Path, record: Any, columns: Any, what: str) -> None:
    with pytest.raises(DataError, match=what):
        messages(tmp_path, record, **columns)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"columns": {"messages": "m", "text": "t"}}, "messages stand for the text"),
        ({"columns": {"messages": "m", "response": "r"}}, "just one of messages, response, chosen and rejected"),
        ({"columns": {"chosen": "m"}}, "just one of"),
        ({"columns": {"prompt": "m"}}, "just one of"),
        ({"columns": {"response": "m"}}, "nothing asks for the response"),
        ({"columns": {"prompt": "p", "messages": "m"}}, "messages are the whole conversation"),
        ({"columns": {"text": "m"}, "train_on": "last"}, "is for conversations"),
    ],
)
def test_columns_that_make_no_conversation_are_refused(words: Any, what: str) -> None:
    assert any(what in problem for _, problem in JsonLines(jsonl=("a",), **words).problems())


def made(folder: Path, records: list[Any], template: str = "chatml", **words: Any) -> tuple[Batches, Tokenizer]:
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    source = {"jsonl": "a.jsonl", "columns": {"messages": "m"}} | words.pop("source", {})
    data = Data.model_validate({"train": source, "max_length": 64, **words})
    texts = ["Name a colour. Blue or green. Thanks! You're welcome. Be brief."]
    tokenizer = train_tokenizer(Bpe(vocab_size=300), texts, BUILTIN["chatml"].controls)
    give_template(tokenizer, template)
    caches = {"train": open_cache(data.train["train"], tokenizer, directory=folder / "cache", base=folder)}
    return build_batches(data, {"lm": CausalLm()}, tokenizer, caches, seed=1, batch_size=1), tokenizer


def learned(batches: Batches, tokenizer: Tokenizer) -> list[str]:
    """What each segment of each row learns, as text with its special tokens."""
    found = []
    for step in range(batches.steps_per_epoch):
        batch = batches.train(step)
        for segment in range(1, batch["segments"].max() + 1):
            counted = (batch["segments"] == segment) & (batch["lm/weights"] > 0)
            found.append(tokenizer.decode(batch["lm/labels"][counted], skip_special=False))
    return sorted(found)


def test_rows_of_several_chats_learn_what_the_assistant_says_and_where_it_ends(tmp_path: Path) -> None:
    batches, tokenizer = made(tmp_path, [{"m": [BE, ASK, SAY, THANK, BYE]}, {"m": [ASK, BYE]}, {"m": [THANK, SAY]}], max_length=200)
    first, last = f"{SAY['content']}<|im_end|>", f"{BYE['content']}<|im_end|>"
    assert learned(batches, tokenizer) == sorted([first + last, last, first])
    assert any(batches.train(step)["segments"].max() > 1 for step in range(batches.steps_per_epoch))
    end = tokenizer.encode(["<|im_end|>"])[0][0]
    assert sum(np.sum(batches.train(step)["tokens"] == end) for step in range(batches.steps_per_epoch)) == 9


def test_train_on_chooses_what_is_learned(tmp_path: Path) -> None:
    records = [{"m": [ASK, SAY, THANK, BYE]}]
    last = f"{BYE['content']}<|im_end|>"
    assert learned(*made(tmp_path, records, source={"train_on": "last"}, max_length=128)) == [last]
    (whole,) = learned(*made(tmp_path, records, source={"train_on": "all"}, max_length=128))
    assert whole.startswith("user\nName a colour.<|im_end|>") and whole.endswith(last + "\n")


def test_another_template_or_choice_is_another_cache(tmp_path: Path) -> None:
    records = [{"m": [ASK, SAY]}]
    made(tmp_path, records, max_length=128)
    made(tmp_path, records, "plain", max_length=128)
    made(tmp_path, records, "plain", source={"train_on": "all"}, max_length=128)
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_a_conversation_nobody_answers_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:2: messages: no turn of the assistant to learn from"):
        made(tmp_path, [{"m": [ASK, SAY]}, {"m": [ASK]}])


def test_a_built_in_template_asks_for_its_tokens() -> None:
    with pytest.raises(SpecError, match=r"chatml needs <\|im_start\|> and <\|im_end\|> among the special tokens"):
        give_template(train_tokenizer(Bpe(vocab_size=300), ["a text"]), "chatml")
