"""Rows of two answers: both are there with the same end of the prompt, and what is learned is the answers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.data.batches import Batches
from lmkit.data.build import build_batches
from lmkit.data.cache import open_cache
from lmkit.data.spec import Data
from lmkit.errors import DataError
from lmkit.tasks.spec import DirectPreference
from lmkit.text.build import train_tokenizer
from lmkit.text.chat_templates import give_template
from lmkit.text.spec import Character
from lmkit.text.tokenizer import Tokenizer

RECORDS = [
    {"p": "Name a colour.", "c": "Blue, of course!", "r": "No."},
    {"p": "Name a very large number, and then one that is larger still.", "c": "Ten; eleven.", "r": "One " * 9},
    {"p": "Hm?", "c": "What is it that you want to know? " * 3, "r": "Say more."},
]


def made(folder: Path, length: int, records: Any = RECORDS, **columns: str) -> tuple[Batches, Tokenizer]:
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    source = {"jsonl": "a.jsonl", "columns": columns or {"prompt": "p", "chosen": "c", "rejected": "r"}}
    data = Data.model_validate({"train": source, "max_length": length})
    tokenizer = train_tokenizer(Character(), [json.dumps(RECORDS) + "#UAser:nistan\n"])
    give_template(tokenizer, "plain")
    caches = {"train": open_cache(data.train["train"], tokenizer, directory=folder / "cache", base=folder)}
    return build_batches(data, {"prefer": DirectPreference()}, tokenizer, caches, seed=1, batch_size=1), tokenizer


def rows(batches: Batches, tokenizer: Tokenizer) -> dict[int, list[tuple[str, str]]]:
    """By record: of each segment what is read, and what is learned."""
    found = {}
    for step in range(len(RECORDS)):
        batch = batches.train(step)
        both = []
        for segment in (1, 2):
            here = batch["segments"] == segment
            np.testing.assert_array_equal(batch["positions"][here], np.arange(here.sum()))
            learned = batch["prefer/labels"][here & (batch["prefer/counted"] > 0)]
            both.append((tokenizer.decode(batch["tokens"][here]), tokenizer.decode(learned)))
        found[int(batch["prefer/record"][0])] = both
    return found


def test_each_row_holds_the_two_answers_of_a_record(tmp_path: Path) -> None:
    for record, both in rows(*made(tmp_path, 400)).items():
        for (read, learned), answer in zip(both, (RECORDS[record]["c"], RECORDS[record]["r"]), strict=True):
            assert read == f"### User:\n{RECORDS[record]['p']}\n\n### Assistant:\n{answer}"
            assert learned == answer


def test_what_is_too_long_loses_the_beginning_of_the_prompt_then_the_end_of_an_answer(tmp_path: Path) -> None:
    whole, cut = rows(*made(tmp_path, 400)), rows(*made(tmp_path, 120))
    for record, both in cut.items():
        missing = [len(full) - len(read) for (full, _), (read, _) in zip(whole[record], both, strict=True)]
        prompts = [read[: len(read) - len(learned)] for read, learned in both]
        assert prompts[0] == prompts[1] or min(map(len, prompts)) <= 1 or missing[0] == missing[1]
        assert sum(len(read) for read, _ in both) <= 120
    for (full, answer), (read, learned) in zip(whole[1], cut[1], strict=True):
        assert full.endswith(read) and learned == answer
    assert whole[2][0][1].startswith(cut[2][0][1]) and cut[2][1][1] == "Say more."


def test_an_answer_is_learned_behind_a_prompt_that_is_longer_than_that_of_the_other(tmp_path: Path) -> None:
    def talk(asked: str, answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]

    long, short = talk("Name a very large number. " * 4, "Ten; eleven."), talk("Hm?", "One " * 25)
    for chosen, rejected in ((long, short), (short, long)):
        batches, tokenizer = made(tmp_path, 90, [{"c": chosen, "r": rejected}], chosen="c", rejected="r")
        both = rows(batches, tokenizer)[0]
        for (_, learned), (_, answer) in zip(both, (chosen, rejected), strict=True):
            assert learned and answer["content"].startswith(learned)
        assert both[(chosen, rejected).index(long)][1] == "Ten; eleven." and sum(len(read) for read, _ in both) <= 90


def test_records_without_a_worse_answer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="source train has no rejected"):
        made(tmp_path, 100, [{"p": "a", "c": "b"}], prompt="p", response="c")
